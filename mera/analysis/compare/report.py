"""The report of a comparison: one Markdown file, with two pictures beside it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from mera._utils.files import make_folder, write_atomically
from mera._utils.table import Table, with_error
from mera.analysis.compare.scores import TIMED_SAMPLES, Score
from mera.analysis.drawing.curves import loss_curves
from mera.analysis.drawing.figures import Picture, panels
from mera.analysis.drawing.images import draw_image, grid, save_figure
from mera.data import DataSplits
from mera.data.dataset import count_of
from mera.models.saving import load
from mera.train import RunFolder, Settings, sample
from mera.train.likelihoods import ImageLikelihood, likelihood_of

SAMPLES_SHOWN, TEMPERATURE = 16, 0.7
"""The number of samples of each model in the picture, and their temperature."""


def score_table(scores: Sequence[Score], unit: str = "bits/dim") -> Table:
    """Make a table with a row for each model: means over the seeds, or over the examples if there is one seed."""
    by_model: dict[str, dict[int, Score]] = {}
    for score in scores:
        by_model.setdefault(score.model, {})[score.seed] = score
    first, *_ = by_model.values()
    rows = []
    for model, runs in by_model.items():
        pairs = [(run, first[seed]) for seed, run in runs.items() if seed in first]
        losses, gaps = [run.loss for run in runs.values()], [run.loss - other.loss for run, other in pairs]
        if len(runs) == 1:
            losses = list(next(iter(runs.values())).losses)
            gaps = [a - b for run, other in pairs for a, b in zip(run.losses, other.losses, strict=True)]
        rows.append([
            model,
            f"{next(iter(runs.values())).parameters:,}",
            f"{sum(run.steps for run in runs.values()) / len(runs):,.0f}",
            f"{sum(run.minutes for run in runs.values()) / len(runs):.1f}",
            len(runs),
            with_error(losses),
            "" if runs is first or not gaps else with_error(gaps, sign=True),
            f"{1000 * sum(run.sampling for run in runs.values()) / len(runs):.0f}",
        ])  # fmt: skip
    columns = ["model", "parameters", "steps", "minutes", "seeds", f"test {unit}", "less the first", "64 samples, ms"]
    return Table(columns, rows)


def write_report(scores: Sequence[Score], data: DataSplits, settings: Settings, out: str | Path, command: str) -> Path:
    """Write `report.md`, `curves.png` and, for images, `samples.png`.

    Args:
        scores: the scores; see `compare`.
        data: the data that the models learnt.
        settings: the settings of the training.
        out: the folder of the three files.
        command: the command or the call that made the comparison, which the report quotes.

    Returns:
        The path of the report.
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
        f"in batches of {settings.batch_size}. The number after ± is the standard error of the mean over the seeds; "
        "with one seed over the test examples, so that it does not say how much seeds differ. "
        f'"Less the first" is the loss less that of the first model, pair by pair. The last column is the time that '
        f"{TIMED_SAMPLES} samples take. torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}.",
        "![test loss over time](curves.png)",
    ]
    if kind is ImageLikelihood and data.test[0].ndim == 3 and data.channels in (1, 3):
        save_figure(_samples(first_seed), out / "samples.png")
        lines.append(f"Samples at temperature {TEMPERATURE}:\n\n![samples](samples.png)")
    path = out / "report.md"
    write_atomically(path, ("\n\n".join(lines) + "\n").encode())
    return path


def _samples(scores: Sequence[Score]) -> Picture:
    """Draw a grid of samples of each model."""
    figure, axes = panels(len(scores), 4, 2.6, 2.8)
    for panel, score in zip(axes, scores, strict=True):
        flow = load(score.run)
        draw_image(panel, grid(flow.to_images(sample(flow, SAMPLES_SHOWN, TEMPERATURE)), columns=4))
        panel.set_title(f"{score.model}\n{score.loss:.3f}", fontsize=9)
    return figure
