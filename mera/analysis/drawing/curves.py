"""Curves of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from mera._utils.checks import check_choice
from mera.analysis.drawing.figures import Picture, panels


def loss_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    x: str = "seconds",
    metric: str = "test_bits",
    label: str = "test bits per dimension",
    title: str = "",
) -> Picture:
    """Draw the loss on test examples over the course of training, one curve per run.

    Args:
        runs: for the name of each run, its evaluations in order; see `RunFolder.metrics`.
        x: the horizontal axis, "seconds" or "step".
        metric: the metric to draw: "test_bits" for images, "test_nats" for fields.
        label: the label of the vertical axis.
        title: the title.

    Raises:
        ValueError: if `x` is neither "seconds" nor "step".
    """
    check_choice(x, ("seconds", "step"), "a horizontal axis")
    figure, axes = _axes(title)
    for name, metrics in runs.items():
        axes.plot([line[x] for line in metrics], [line[metric] for line in metrics], marker="o", ms=3, label=name)
    axes.set(xlabel=x, ylabel=label)
    if runs:
        axes.legend()
    return figure


def _axes(title: str) -> tuple[Picture, Axes]:
    """An empty figure with a light grid."""
    figure, (axes,) = panels(1, 1, 6, 4)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    return figure, axes
