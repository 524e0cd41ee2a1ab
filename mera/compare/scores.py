"""Training of the models of a comparison, each with several seeds, and what came of it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera.compare.contestants import Contestant
from mera.data import DataSplits
from mera.density import Density
from mera.graph.summary import count_parameters
from mera.train import RunFolder, Settings, fit, sample
from mera.train.evaluate import mean_loss

TIMED_SAMPLES = 64
"""The number of samples whose time is taken."""
REPEATS = 5


@dataclass(frozen=True)
class Score:
    """What came of one run of a comparison.

    Args:
        model: the model as text.
        seed: the seed of weights, order and noise.
        parameters: the number of parameters.
        steps: the steps that were taken.
        minutes: the time that they took.
        loss: the loss on the test examples: bits per dimension for images, nats for each variable for fields.
        examples: the number of test examples.
        sampling: the seconds that 64 samples take, the median of five calls.
        run: the folder of the run.
    """

    model: str
    seed: int
    parameters: int
    steps: int
    minutes: float
    loss: float
    examples: int
    sampling: float
    run: str


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
    """Train models on the same data with the same settings, and score them on its test examples.

    The first seed of all models comes first, then the second one, so that a comparison that stops early is one of fewer
    seeds. Called again with the same arguments, it goes on where it stopped: runs that are over are not trained again.

    Args:
        contestants: the models; see `contestants`.
        data: training and test examples.
        settings: how to train; the seed is the first of the seeds.
        out: the folder of the comparison; each run has a folder of its own in it.
        seeds: the number of runs of each model.
        images: the number of test examples that are scored; all if None.
        device: where the flows are trained.
        console: where progress is shown, None for nowhere.

    Yields:
        A score for each run, when it is over. A run that is interrupted ends the comparison.

    Raises:
        ValueError: if the folder holds runs of other models, with other options, data or settings.
    """
    check_count(seeds, "seeds")
    for seed in range(settings.seed, settings.seed + seeds):
        for contestant in contestants:
            run = RunFolder(Path(out) / contestant.folder / f"seed{seed}")
            score = _score(contestant, data, replace(settings, seed=seed), run, images, torch.device(device), console)
            if score is None:
                return
            yield score


def _score(
    contestant: Contestant,
    data: DataSplits,
    settings: Settings,
    run: RunFolder,
    images: int | None,
    device: torch.device,
    console: Console | None,
) -> Score | None:
    """Train a model unless it is trained, and score it unless it is scored; None if it is interrupted."""
    file = run.path / "score.json"
    examples = len(data.test) if images is None else min(images, len(data.test))
    description = _describe(contestant, data, settings)
    if run.steps():
        _check_same(run, description)
        if file.exists() and (score := Score(**json.loads(file.read_text()))).examples == examples:
            return replace(score, run=str(run.path))
    torch.manual_seed(settings.seed)
    flow = contestant.build().to(device)
    if console is not None:
        console.print(f"{contestant.text}, seed {settings.seed}: {count_parameters(flow):,} parameters")
    if not run.steps():
        run.create({"comparison": description})
    result = fit(flow, data, settings, run, resume="auto", console=console, quiet=console is None)
    if result.interrupted:
        return None
    minutes = run.metrics()[-1]["seconds"] / 60
    score = Score(
        contestant.text, settings.seed, count_parameters(flow), result.steps, minutes,
        mean_loss(result.flow, data.test, images), examples, _sampling_time(result.flow), str(run.path),
    )  # fmt: skip
    write_atomically(file, json.dumps(asdict(score)).encode())
    return score


def _describe(contestant: Contestant, data: DataSplits, settings: Settings) -> dict[str, Any]:
    """All that the score of a run depends on, in values that JSON holds."""
    source = data.source or {"name": data.name, "examples": [len(data.train), len(data.test)]}
    source = {name: value for name, value in source.items() if name != "root"}  # data may be moved
    entries = {"model": contestant.model, "options": dict(contestant.options), "data": source}
    return json.loads(json.dumps(entries | {"settings": asdict(settings)}, default=str))


def _check_same(run: RunFolder, description: dict[str, Any]) -> None:
    """Refuse a run of another model, with other options, data or settings than those of the comparison."""
    before = run.config().get("comparison", {})
    other = [
        f"{part}: {before.get(part)}" if part != "settings" else _changed(before.get(part, {}), description[part])
        for part in description
        if before.get(part) != description[part]
    ]
    if other:
        raise InputError(f"the options of the run in {run.path}, or another folder", f"a run with {'; '.join(other)}")


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings that differ, with their values before."""
    return ", ".join(f"{name}={before.get(name)!r}" for name in now if before.get(name) != now[name])


def _sampling_time(flow: Density) -> float:
    """The median time that samples take, in seconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        sample(flow, TIMED_SAMPLES).cpu()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
