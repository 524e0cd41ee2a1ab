"""Charts: curves of training, maps of log p, latents of images compared with the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from mera._utils.checks import check_choice
from mera.analysis.drawing.figures import Picture, panels

if TYPE_CHECKING:
    from mera.analysis import LatentStatistics


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
    """
    check_choice(x, ("seconds", "step"), "a horizontal axis")
    figure, (axes,) = panels(1, 1, 6, 4)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    for name, metrics in runs.items():
        axes.plot([line[x] for line in metrics], [line[metric] for line in metrics], marker="o", ms=3, label=name)
    axes.set(xlabel=x, ylabel=label)
    if runs:
        axes.legend()
    return figure


def map_figure(image: Tensor, bits: Tensor, sites: Sequence[int], unit: str = "bits/dim") -> Picture:
    """Draw an image (C, H, W) from 0 to 1, and its bits per dimension in cells (levels, h, w), all and by level.

    `sites` holds for each level the edge of one of its sites in pixels.
    """
    figure, axes = panels(2 + len(bits), 3, 3.6, 0.4 + 3.0 * image.shape[1] / image.shape[2], margin=0.2)
    axes[0].imshow(image.movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("the image; in its maps, bright = surprising", fontsize=9)
    titles = ["all levels", *(f"level {level}, sites of {edge} pixels" for level, edge in enumerate(sites))]
    for axis, title, values in zip(axes[1:], titles, [bits.sum(0), *bits], strict=True):
        low, high = values.quantile(0.01).item(), values.quantile(0.99).item()
        shown = axis.imshow(values.numpy(), cmap="magma", vmin=low, vmax=max(high, low + 1e-9))
        axis.set_title(f"{title}: {values.mean():.3f} {unit}", fontsize=9)
        figure.colorbar(shown, ax=axis, shrink=0.8, label=unit)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure


def histograms(statistics: LatentStatistics) -> Picture:
    """Draw histograms of the latents of each level and of the prior, on a logarithmic scale."""
    middles = ((statistics.edges[1:] + statistics.edges[:-1]) / 2).tolist()
    prior = statistics.prior_histogram.clamp(min=1e-5).tolist()
    figure, axes = panels(len(statistics.histograms), 4, 2.6, 2.4, margin=0.5)
    for h, (panel, density) in enumerate(zip(axes, statistics.histograms, strict=True)):
        panel.fill_between(middles, prior, 1e-5, color="0.85", label="prior")
        panel.step(middles, density.clamp(min=1e-5).tolist(), where="mid", lw=1.4, label="latents of images")
        panel.set_yscale("log")
        panel.set_ylim(1e-4, None)
        std, kurtosis, distance = statistics.std[h], statistics.kurtosis[h], statistics.distance[h]
        panel.set_title(f"h = {h}: std {std:.2f}, kurtosis {kurtosis:.1f}, KS {distance:.3f}", fontsize=8)
    axes[0].legend(fontsize=7)
    title = f"latents of {statistics.images:,} images and the prior (kurtosis {statistics.prior_kurtosis:.1f})"
    figure.suptitle(title, fontsize=10)
    return figure


def dependence(statistics: LatentStatistics) -> Picture:
    """Draw the mutual information of two latents, for each pair of levels and by their distance on the tree."""
    figure, (left, right) = panels(2, 2, 4.25, 3.4)
    values = 1e3 * statistics.information
    shown = left.imshow(values, cmap="viridis", vmin=0)
    for a, row in enumerate(values.tolist()):
        for b, value in enumerate(row):
            left.text(b, a, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white")
    levels = list(range(len(values)))
    left.set(xlabel="level", ylabel="level", xticks=levels, yticks=levels)
    left.set_title("two latents of two levels", fontsize=9)
    figure.colorbar(shown, ax=left, shrink=0.8)
    right.errorbar(
        statistics.tree_distances.tolist(), (1e3 * statistics.tree_information).tolist(),
        (1e3 * statistics.tree_error).tolist(),
        fmt="o-", ms=4, capsize=2,
    )  # fmt: skip
    right.axhline(0, color="0.6", lw=0.8)
    right.set(xlabel="distance on the tree")
    right.set_title("two latents at a distance on the tree", fontsize=9)
    right.grid(alpha=0.3)
    figure.suptitle(f"mean mutual information of two latents of {statistics.images:,} images, 0.001 nats", fontsize=10)
    return figure
