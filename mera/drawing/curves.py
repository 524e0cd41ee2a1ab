"""Curves of training and of searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mera._utils.checks import check_choice

__all__ = ["bits_curves", "log_prob_curve"]


def bits_curves(runs: Mapping[str, Sequence[Mapping[str, float]]], x: str = "seconds", title: str = "") -> Figure:
    """Draw bits per dimension on test images over the course of training, one curve per run.

    Args:
        runs: for the name of each run, its evaluations in order; see `RunFolder.metrics`.
        x: what runs from left to right, "seconds" or "step".
        title: the title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if `x` is another word.
    """
    check_choice(x, ("seconds", "step"), "a horizontal axis")
    figure, axes = _axes(title)
    for name, metrics in runs.items():
        axes.plot([line[x] for line in metrics], [line["test_bits"] for line in metrics], marker="o", ms=3, label=name)
    axes.set(xlabel=x, ylabel="test bits per dimension")
    if runs:
        axes.legend()
    return figure


def log_prob_curve(log_prob: Tensor, title: str = "") -> Figure:
    """Draw the log-density of a filled image at each step of a search.

    Args:
        log_prob: log p at each step, in nats, (steps,); see `Inpainting.history`.
        title: the title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if there is more than one number per step.
    """
    if log_prob.ndim != 1:
        raise ValueError(f"Expected log p of shape (steps,); got {tuple(log_prob.shape)}")
    figure, axes = _axes(title)
    axes.plot(log_prob.tolist())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel="log p, nats")
    return figure


def _axes(title: str) -> tuple[Figure, Axes]:
    """An empty figure with a light grid."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    return figure, axes
