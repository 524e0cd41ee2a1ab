"""Figures of the latents of images: their distribution compared with the prior, and their mutual information."""

from __future__ import annotations

from mera.analysis import LatentStatistics
from mera.analysis.drawing.figures import Picture, panels


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
