"""Latents of images against the prior, and against each other by their distance on the tree."""

from __future__ import annotations

from mera.analysis import LatentStatistics
from mera.drawing.figures import Picture, panels


def histograms(found: LatentStatistics) -> Picture:
    """The latents of images, level by level, against draws from the prior, on a logarithmic scale.

    Args:
        found: the statistics of the latents of some images; see `mera.analysis.statistics`.
    """
    middles = ((found.edges[1:] + found.edges[:-1]) / 2).tolist()
    figure, axes = panels(len(found.histograms), 4, 2.6, 2.4, margin=0.5)
    for h, (panel, density) in enumerate(zip(axes, found.histograms, strict=True)):
        panel.fill_between(middles, found.prior_histogram.clamp(min=1e-5).tolist(), 1e-5, color="0.85", label="prior")
        panel.step(middles, density.clamp(min=1e-5).tolist(), where="mid", lw=1.4, label="latents of images")
        panel.set_yscale("log")
        panel.set_ylim(1e-4, None)
        panel.set_title(
            f"h = {h}: std {found.std[h]:.2f}, kurtosis {found.kurtosis[h]:.1f}, KS {found.distance[h]:.3f}", fontsize=8
        )
    axes[0].legend(fontsize=7)
    title = f"latents of {found.images:,} images and the prior (kurtosis {found.prior_kurtosis:.1f})"
    figure.suptitle(title, fontsize=10)
    return figure


def dependence(found: LatentStatistics) -> Picture:
    """The mutual information of two latents, within and between levels, and by their distance on the tree.

    Args:
        found: the statistics of the latents of some images; see `mera.analysis.statistics`.
    """
    figure = Picture(figsize=(8.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    values = 1e3 * found.information
    shown = left.imshow(values, cmap="viridis", vmin=0)
    for a, row in enumerate(values.tolist()):
        for b, value in enumerate(row):
            left.text(b, a, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white")
    levels = list(range(len(values)))
    left.set(xlabel="level", ylabel="level", xticks=levels, yticks=levels)
    left.set_title("two latents of two levels", fontsize=9)
    figure.colorbar(shown, ax=left, shrink=0.8)
    right.errorbar(
        found.tree_distances.tolist(), (1e3 * found.tree_information).tolist(), (1e3 * found.tree_error).tolist(),
        fmt="o-", ms=4, capsize=2,
    )  # fmt: skip
    right.axhline(0, color="0.6", lw=0.8)
    right.set(xlabel="distance on the tree")
    right.set_title("two latents at a distance on the tree", fontsize=9)
    right.grid(alpha=0.3)
    figure.suptitle(f"mean mutual information of two latents of {found.images:,} images, 0.001 nats", fontsize=10)
    return figure
