"""Comparison of models that learn the same data: their training with several seeds, scores, and a report."""

from __future__ import annotations

import itertools
import platform
import re
import statistics
import timeit
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mera import models
from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.files import make_folder, write_atomically
from mera._utils.options import options_of
from mera._utils.progress import check_console
from mera._utils.registry import parse_call
from mera._utils.table import Table, with_error
from mera.data import DataSplits
from mera.data.dataset import count_of
from mera.data.fingerprint import fingerprint
from mera.drawing.curves import loss_curves
from mera.drawing.images import grid, save_figure, titled
from mera.flow import Density, Flow
from mera.graph.summary import count_parameters
from mera.models.saving import load
from mera.train import RunFolder, Settings, fit, sample
from mera.train.evaluate import example_losses
from mera.train.likelihoods import ImageLikelihood, likelihood_of

TIMED_SAMPLES = 64
"""The number of samples that are timed."""
REPEATS = 5
SAMPLES_SHOWN, TEMPERATURE = 16, 0.7
"""The number of samples of each model in the picture, and their temperature."""
EXAMPLE = "rgflow(prior=gaussian)"
SCORE = "score.json"
"""The file of a score in the folder of its run."""


@dataclass(frozen=True)
class Contestant:
    """A model of a comparison.

    Args:
        text: the model as the user wrote it, "rgflow(prior=gaussian)".
        model: the name of the model.
        options: all options that differ from the defaults of the model.
    """

    text: str
    model: str
    options: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of the folder of the contestant's runs."""
        return re.sub(r"[^\w.=,+-]+", "_", self.text).strip("_")

    def build(self) -> Flow:
        """Build a flow with new weights."""
        return models.build(self.model, **self.options)


def contestants(
    texts: Iterable[str], common: Mapping[str, Any] | None = None, parameters: int | None = None
) -> list[Contestant]:
    """Parse the models of a comparison.

    Args:
        texts: names of models with or without options, "rgflow(prior=gaussian)".
        common: options of all models, such as the lattice and the channels; a model ignores options that it lacks.
        parameters: if not None, the number of parameters that each model approximates by the width of hidden layers.

    Raises:
        ValueError: if a text is not a model with options, or sets the width beside `parameters`, two texts are the
            same, or `texts` is empty.

    >>> [c.options["hidden"] for c in contestants(["rgflow", "realnvp"], {"L": 16}, parameters=100_000)]
    [(30,), [(8,), (22,), (52,)]]
    """
    parsed = []
    for text in map(str.strip, texts):
        model, values, options = parse_call(text, EXAMPLE)
        if values:
            raise InputError(f"options by name, such as {EXAMPLE}", repr(text))
        declared = options_of(models.builder(model))
        options = {name: value for name, value in (common or {}).items() if name in declared} | options
        if parameters is not None:
            if "hidden" in options:
                raise InputError(f"no hidden=... in a model whose width gives {parameters:,} parameters", repr(text))
            options = models.fit_width(model, parameters, options)
        parsed.append(Contestant(text, model, options))
    if not parsed or len({contestant.folder for contestant in parsed}) < len(parsed):
        raise InputError("one or more models, each of them once", ", ".join(c.text for c in parsed) or "none")
    return parsed


@dataclass(frozen=True)
class Score:
    """The result of one run of a comparison.

    Args:
        model: the model with options, as text.
        seed: the seed of weights, order of the data and noise.
        parameters: the number of parameters.
        steps: the number of training steps.
        minutes: the training time.
        losses: the loss of each test example.
        sampling: the median time for 64 samples in five calls, in seconds.
        run: the folder of the run.
    """

    model: str
    seed: int
    parameters: int
    steps: int
    minutes: float
    losses: Sequence[float] = field(repr=False)
    sampling: float
    run: str

    @property
    def loss(self) -> float:
        """The mean loss on the test examples, in bits per dimension for images, in nats per variable for fields."""
        return statistics.fmean(self.losses)


def compare(
    contestants: Sequence[Contestant],
    data: DataSplits,
    settings: Settings,
    out: str | Path,
    seeds: int = 1,
    images: int | None = None,
    device: torch.device | str = "cpu",
    console: Console | None = None,
) -> Iterator[Score]:
    """Train models on the same data with the same settings, and evaluate them on the test examples.

    All models are trained with the first seed, then with the second one, so a comparison that stops early has fewer
    seeds. A call with the same arguments resumes the comparison: finished runs are not trained again.

    Args:
        contestants: the models; see `contestants`.
        data: training and test examples.
        settings: the settings of the training; their seed is the first seed.
        out: the folder of the comparison, with a subfolder for each run.
        seeds: the number of runs of each model.
        images: the number of test examples in the score; all if None.
        device: the device of the flows.
        console: where progress is shown; None shows it on terminals and in notebooks only.

    Yields:
        A score after each run. A run that is interrupted ends the comparison.

    Raises:
        ValueError: if the folder has runs with other models, options, data or settings.
    """
    check_count(seeds, "seeds")
    console = check_console(console)
    for contestant in contestants:
        contestant.build()  # so that a wrong option is found before anything is trained
    examples = len(data.test) if images is None else min(images, len(data.test))
    source = {name: value for name, value in (data.source or {}).items() if name != "root"}  # the data may be moved
    facts = {
        "data": source or data.name, "training data": fingerprint(data.train), "test data": fingerprint(data.test),
    }  # fmt: skip

    def draw(flow: Density) -> None:
        sample(flow, TIMED_SAMPLES).cpu()

    for seed, contestant in itertools.product(range(settings.seed, settings.seed + seeds), contestants):
        run, settings_of_run = RunFolder(Path(out) / contestant.folder / f"seed{seed}"), replace(settings, seed=seed)
        comparison = {"model": contestant.model, **facts, **contestant.options, **asdict(settings_of_run)}
        if run.steps():
            run.compare({"comparison": comparison})
            saved = next(iter(run.entries(SCORE)), {})
            if len(saved.get("losses", ())) == examples:
                yield Score(**saved | {"run": str(run.path)})
                continue
        torch.manual_seed(seed)
        flow = contestant.build().to(device)
        console.print(f"{contestant.text}, seed {seed}: {count_parameters(flow):,} parameters")
        result = fit(
            flow, data, settings_of_run, run, resume="auto", console=console, on_signal="return",
            extra={"comparison": comparison},
        )  # fmt: skip
        if result.interrupted:
            return
        minutes = run.metrics()[-1]["seconds"] / 60
        times = timeit.repeat(partial(draw, result.flow), number=1, repeat=REPEATS)
        score = Score(
            contestant.text, seed, count_parameters(flow), result.steps, minutes,
            example_losses(result.flow, data.test, images).tolist(), statistics.median(times), str(run.path),
        )  # fmt: skip
        run.rewrite(SCORE, [asdict(score)])
        yield score


def score_table(scores: Sequence[Score], unit: str = "bits/dim") -> Table:
    """Make a table with a row for each model: means over the seeds, or over the examples if there is one seed."""
    by_model: dict[str, list[Score]] = {}
    for score in scores:
        by_model.setdefault(score.model, []).append(score)
    first = {score.seed: score for score in next(iter(by_model.values()))}
    rows = []
    for model, runs in by_model.items():
        pairs = [(run, first[run.seed]) for run in runs]
        losses, gaps = [run.loss for run in runs], [run.loss - other.loss for run, other in pairs]
        if len(runs) == 1:
            losses = list(runs[0].losses)
            gaps = [a - b for run, other in pairs for a, b in zip(run.losses, other.losses, strict=True)]
        rows.append([
            model,
            f"{runs[0].parameters:,}",
            f"{statistics.fmean(run.steps for run in runs):,.0f}",
            f"{statistics.fmean(run.minutes for run in runs):.1f}",
            len(runs),
            with_error(losses),
            "" if runs[0] is first[runs[0].seed] else with_error(gaps, sign=True),
            f"{1000 * statistics.fmean(run.sampling for run in runs):.0f}",
        ])  # fmt: skip
    columns = ["model", "parameters", "steps", "minutes", "seeds", f"test {unit}", "less the first", "64 samples, ms"]
    return Table(columns, rows)


def write_report(scores: Sequence[Score], data: DataSplits, settings: Settings, out: str | Path, command: str) -> Path:
    """Write `report.md`, `curves.png` and, for images, `samples.png` into a folder, and return the path of the report.

    The arguments are those of `compare`, its scores, and the command or the call, which the report quotes.
    """
    out = Path(out)
    make_folder(out)
    kind = likelihood_of(data.test[0])
    first_seed = [score for score in scores if score.seed == settings.seed]
    metric = f"test_{kind.metric}"
    curves = {score.model: RunFolder(score.run).metrics() for score in first_seed}
    save_figure(
        loss_curves(curves, metric=metric, label=f"test {kind.unit}", title=f"learning {data.name}"), out / "curves.png"
    )
    lines = [
        f"# Models on {data.name}",
        f"`{command}`",
        score_table(scores, kind.unit).markdown(),
        f"Losses are {kind.unit} on {len(scores[0].losses):,} test {kind.name}. "
        f"Models learn from {count_of(data.train)}, "
        f"in batches of {RunFolder(scores[0].run).facts()['settings']['batch_size']}. "
        "The number after ± is the standard error of the mean over the seeds; "
        "with one seed over the test examples, so that it does not say how much seeds differ. "
        f'"Less the first" is the loss less that of the first model, pair by pair. The last column is the time that '
        f"{TIMED_SAMPLES} samples take. torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}.",
        "![test loss over time](curves.png)",
    ]
    if kind is ImageLikelihood and data.test[0].ndim == 3 and data.channels in (1, 3):
        grids = {}
        for score in first_seed:
            flow = load(score.run)
            pictures = flow.to_images(sample(flow, SAMPLES_SHOWN, TEMPERATURE))
            grids[f"{score.model}\n{score.loss:.3f}"] = grid(pictures, columns=4)
        save_figure(titled(grids, 4, 2.6), out / "samples.png")
        lines.append(f"Samples at temperature {TEMPERATURE}:\n\n![samples](samples.png)")
    path = out / "report.md"
    write_atomically(path, ("\n\n".join(lines) + "\n").encode())
    return path
