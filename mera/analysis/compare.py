"""Comparison of models that learn the same data: their training with several seeds, within equal budgets."""

from __future__ import annotations

import itertools
import math
import statistics
import timeit
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mera._utils.checks import check_count, check_flag
from mera._utils.installation import VERSION
from mera._utils.progress import check_console
from mera.analysis.comparison import Comparison, Score, machine
from mera.analysis.contestants import Contestant, contestants
from mera.data import DataSplits, as_splits, class_numbers
from mera.data.examples import hold_out
from mera.data.fingerprint import fingerprint
from mera.flow import Density
from mera.graph.summary import count_parameters
from mera.models.saving import describe_flow
from mera.train import RunFolder, Settings, fit, sample
from mera.train.evaluate import example_losses, pictures_of
from mera.train.likelihoods import likelihood_of

TIMED_SAMPLES = 64
"""The number of samples that are timed."""
REPEATS = 5
SCORE = "score.json"
"""The file of a score in the folder of its run."""
TUNED = "tuned"
"""The folder of the short runs that choose a rate, in the folder of a contestant."""
RATES, SHARE = (1 / 3, 1.0, 3.0), 0.1
"""The rates that are tried, as multiples of the usual rate, and the share of a run that each of them takes."""


def compare(
    models: Sequence[str | Path],
    data: DataSplits,
    settings: Settings | None = None,
    out: str | Path = "comparison",
    *,
    seeds: int = 1,
    parameters: int | None = None,
    images: int | None = None,
    conditional: bool = False,
    tune: bool = False,
    device: torch.device | str = "cpu",
    console: Console | None = None,
    command: str = "mera.analysis.compare",
) -> Comparison:
    """Train models on the same data with the same settings, evaluate them on the test examples, and write a report.

    All models are trained with the first seed, then with the second one, so that a comparison that stops early has
    fewer seeds. The report is written after each run. A call with the same arguments resumes the comparison: finished
    runs are not trained again, and one more model is trained alone.

    Args:
        models: models with options, layouts in files, and trained flows, as text; see `contestants`.
        data: training and test examples.
        settings: the settings of the training; their seed is the first seed. None for the usual ones, with 20
            evaluations in a run.
        out: the folder of the comparison, with a subfolder for each model.
        seeds: the number of runs of each model.
        parameters: the number of parameters that the width of hidden layers approximates; see `contestants`.
        images: the number of test examples in the score; all if None.
        conditional: whether flows are conditional on the classes of the data.
        tune: whether the learning rate of each model is chosen among a third, once and three times the usual one, by
            runs of a tenth of the length on training examples of which a tenth is held out. Their time is in the table.
        device: the device of the flows.
        console: where progress is shown; None shows it on terminals and in notebooks only.
        command: the command of the user, which the report quotes.

    Returns:
        The comparison; a run that is interrupted ends it, see `Comparison.is_complete`.

    Raises:
        ValueError: if a model is wrong, or the folder has runs with other models, options, data or settings.

    >>> import mera, tempfile
    >>> data = mera.data.load("msds1", L=8, train_size=40, test_size=20)
    >>> short = mera.train.Settings(steps=4, eval_every=2)
    >>> found = compare(["rgflow(hidden=(4,))", "realnvp(hidden=(4,))"], data, short, tempfile.mkdtemp())
    >>> [row["model"] for row in found.rows()]
    ['rgflow(hidden=(4,))', 'realnvp(hidden=(4,))']
    """
    check_count(seeds, "seeds")
    check_flag(tune, "tune")
    settings = (Settings(eval_every=None) if settings is None else settings).filled({})
    data = as_splits(data, tuple(data.test[0].shape))
    common: dict[str, Any] = {"L": tuple(data.test[0].shape[1:]), "channels": data.channels}
    if conditional:
        common["classes"] = int(class_numbers(data.train).max()) + 1
    found = contestants(models, common, parameters)
    for contestant in found:
        contestant.make()  # so that a wrong option is found before anything is trained
    examples = len(data.test) if images is None else min(images, len(data.test))
    kind, scores, report = likelihood_of(data.test[0]), [], None
    runs = [
        (seed, contestant)
        for seed, contestant in itertools.product(range(settings.seed, settings.seed + seeds), found)
        if seed == settings.seed or not contestant.is_trained
    ]
    arena = _Arena(data, settings, Path(out), examples, tune, device, check_console(console))
    for seed, contestant in runs:
        score = arena.score(contestant, seed)
        if score is None:  # interrupted
            break
        scores.append(score)
        report = Comparison(
            scores, data.name, kind.name, kind.unit, arena.recipe(command), parameters,
            pictures_of(data.test, examples), len(runs),
        )  # fmt: skip
        report.save(out)
    return report or Comparison([], data.name, kind.name, kind.unit, expected=len(runs))


class _Arena:
    """The data, the settings, the folder and the device that all runs of a comparison share."""

    def __init__(
        self, data: DataSplits, settings: Settings, out: Path, examples: int, tune: bool,
        device: torch.device | str, console: Console,
    ) -> None:  # fmt: skip
        self.data, self.settings, self.out, self.examples = data, settings, out, examples
        self.tune, self.device, self.console = tune, device, console
        source = {name: value for name, value in (data.source or {}).items() if name != "root"}  # may be moved
        self.facts = {
            "data": source or data.name, "training data": fingerprint(data.train), "test data": fingerprint(data.test),
        }  # fmt: skip

    def recipe(self, command: str) -> list[tuple[str, str]]:
        """How the models were trained, as (name, value): the settings have the names of the options."""
        settings = {"optimizer": likelihood_of(self.data.test[0]).optimizer, "steps": self.settings.last_step}
        settings |= {name: value for name, value in asdict(self.settings).items() if value is not None}
        if self.tune:
            settings["lr"] = f"{self.settings.lr:g} times {', '.join(f'{r:.2g}' for r in RATES)}, the best"
        return [
            ("command", f"`{command}`"),
            ("data", f"{len(self.data.train):,} training and {len(self.data.test):,} test examples"),
            ("score", f"{self.examples:,} test examples"),
            *((name, str(value)) for name, value in settings.items()),
            ("versions", f"mera {VERSION}, torch {torch.__version__}"),
            ("machine", machine(self.device)),
        ]

    def score(self, contestant: Contestant, seed: int) -> Score | None:
        """Train and evaluate a contestant with a seed, or read its score; None if the training was interrupted."""
        torch.manual_seed(seed)
        flow = contestant.make().to(self.device)
        if contestant.is_trained:
            self.console.print(f"{contestant.text}: {count_parameters(flow):,} parameters, already trained")
            return self._evaluated(contestant, flow, seed, 0, 0.0, contestant.text)
        lr, tuning = self._tuned(contestant) if self.tune else (self.settings.lr, 0.0)
        run = RunFolder(self.out / contestant.folder / f"seed{seed}")
        settings = replace(self.settings, seed=seed, lr=lr)
        comparison = {**describe_flow(flow), **self.facts, **asdict(settings)}
        if run.steps():
            run.compare({"comparison": comparison})
            saved = next(iter(run.entries(SCORE)), {})
            if len(saved.get("losses", ())) == self.examples:
                return Score(**saved | {"run": str(run.path)})
        self.console.print(f"{contestant.text}, seed {seed}: {count_parameters(flow):,} parameters")
        result = fit(
            flow, self.data, settings, run, resume="auto", console=self.console, on_signal="return",
            extra={"comparison": comparison},
        )  # fmt: skip
        if result.interrupted:
            return None
        minutes = run.metrics()[-1]["seconds"] / 60
        score = self._evaluated(contestant, result.flow, seed, result.steps, minutes, str(run.path))
        score = replace(score, lr=lr, tuning=tuning)
        run.rewrite(SCORE, [asdict(score)])
        return score

    def _evaluated(
        self, contestant: Contestant, flow: Density, seed: int, steps: int, minutes: float, run: str
    ) -> Score:
        """The score of a trained flow."""
        losses = example_losses(flow, self.data.test, self.examples).tolist()
        times = timeit.repeat(lambda: sample(flow, TIMED_SAMPLES).cpu(), number=1, repeat=REPEATS)
        parameters = count_parameters(flow)
        return Score(contestant.text, seed, parameters, steps, minutes, losses, statistics.median(times), run)

    def _tuned(self, contestant: Contestant) -> tuple[float, float]:
        """The best of three rates on examples that are held out, and the minutes that the short runs took."""
        settings, (learnt, held_out) = self.settings, hold_out(self.data.train)
        data = replace(self.data, train=learnt, test=held_out)
        steps = None if math.isinf(settings.last_step) else max(1, round(SHARE * settings.last_step))
        minutes = None if settings.minutes is None else SHARE * settings.minutes
        warmup = settings.warmup and round(SHARE * settings.warmup)
        short = replace(settings, steps=steps, minutes=minutes, warmup=warmup, eval_every=10**9, eval_images=10**9)
        losses, seconds = {}, 0.0
        for rate in (factor * settings.lr for factor in RATES):
            torch.manual_seed(settings.seed)
            trial = contestant.make().to(self.device)
            run = RunFolder(self.out / contestant.folder / TUNED / f"{rate:.3g}")
            self.console.print(f"{contestant.text}: rate {rate:.3g}")
            fit(trial, data, replace(short, lr=rate), run, resume="auto", console=self.console, check=False)
            last = run.metrics()[-1]
            losses[rate], seconds = last[f"test_{likelihood_of(data.test[0]).metric}"], seconds + last["seconds"]
        return min(losses, key=lambda rate: losses[rate]), seconds / 60
