"""Charts: curves of training, and maps of log p."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from mera.drawing.figures import Picture, panels


def loss_curves(
    runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    x: str = "seconds",
    metric: str = "test_bits",
    label: str = "test bits per dimension",
    title: str = "",
) -> Picture:
    """Draw the loss on test examples over the course of training: the mean of several runs, in a band of all of them.

    Args:
        runs: for each name, one or more runs, each as its evaluations in order; see `RunFolder.metrics`.
        x: the horizontal axis, "seconds" or "step".
        metric: the metric to draw: "test_bits" for images, "test_nats" for fields.
        label: the label of the vertical axis.
    """
    figure, (axes,) = panels(1, 1, 6, 4)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    for name, repeats in runs.items():
        curves = [([line[x] for line in run], [line[metric] for line in run]) for run in repeats]
        places = max(curves, key=lambda curve: len(curve[0]))[0]
        places = [place for place in places if all(min(at) <= place <= max(at) for at, _ in curves)] or places
        values = np.array([np.interp(places, *curve) for curve in curves])
        (line,) = axes.plot(places, values.mean(0), marker="o", ms=3, label=name)
        if len(curves) > 1:
            axes.fill_between(places, values.min(0), values.max(0), color=line.get_color(), alpha=0.25, lw=0)
    axes.set(xlabel=x, ylabel=label)
    if runs:
        axes.legend()
    return figure


def map_figure(image: Tensor, bits: Tensor, sites: Sequence[int], unit: str, means: Sequence[float]) -> Picture:
    """Draw an image (C, H, W) from 0 to 1, and its bits per dimension in cells (levels, h, w), all and by level.

    `sites` holds for each level the edge of one of its sites in pixels, and `means` its mean.
    """
    figure, axes = panels(2 + len(bits), 3, 3.6, 0.4 + 3.0 * image.shape[1] / image.shape[2], margin=0.2)
    axes[0].imshow(image.movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("the image; in its maps, bright = surprising", fontsize=9)
    titles = ["all levels", *(f"level {level}, sites of {edge} pixels" for level, edge in enumerate(sites))]
    for axis, title, values, mean in zip(axes[1:], titles, [bits.sum(0), *bits], [sum(means), *means], strict=True):
        low, high = values.quantile(0.01).item(), values.quantile(0.99).item()
        shown = axis.imshow(values.numpy(), cmap="magma", vmin=low, vmax=max(high, low + 1e-9))
        axis.set_title(f"{title}: {mean:.3f} {unit}", fontsize=9)
        figure.colorbar(shown, ax=axis, shrink=0.8, label=unit)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure
