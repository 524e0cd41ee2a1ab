"""Which latents of data know of each other? Mutual information by level and by distance on the tree of an RG-Flow.

    python examples/latent_information.py msds1
    python examples/latent_information.py runs/a --data msds1 --images 2000 --pairs 1000 --out latents_tree.png

Training of an RG-Flow minimises the mutual information of latents (Section 3.1 of https://arxiv.org/abs/2010.00029).
The script estimates what remains, from test images of a data set, and draws it. The flow is a run, a file of
`mera.save` or a flow of the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, combinations_with_replacement
from pathlib import Path

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor

import mera
from mera._utils.random import fixed_seed
from mera.analysis.latents import encode_levels
from mera.drawing.figures import Picture, panels
from mera.drawing.images import save_figure
from mera.graph import Plan

MI_BINS, PAIRS_AT_ONCE = 8, 512
"""The number of bins of a variable, with equal numbers of samples, and of pairs whose histograms are one batch."""


def bins_of_latents(flow: mera.Flow, images: Tensor, context: Tensor | None = None) -> Tensor:
    """The bins of all latents of images, (N, variables), levels from the finest on; see `rank_bins`."""
    levels = encode_levels(flow, images, context)
    return torch.cat([rank_bins(level.flatten(1).double()) for level in levels], dim=1)


def information_by_level(plan: Plan, bins: Tensor, pairs: int) -> Tensor:
    """The mean mutual information of two latents for each pair of levels, and its error, (levels, levels, 2).

    The error is the standard error over pairs of latents, for fixed images.
    """
    sizes = [latent.lattice.variables for latent in plan.latents]
    ends = list(accumulate(sizes))
    information = torch.zeros(len(sizes), len(sizes), 2, dtype=torch.float64)
    for a, b in combinations_with_replacement(range(len(sizes)), 2):
        n, m = sizes[a], sizes[b]
        drawn = torch.randint(n * m, (4 * pairs,)) if n * m > 16 * pairs else torch.arange(n * m)
        i, j = distinct_pairs(drawn // m + ends[a] - n, drawn % m + ends[b] - m, ends[-1])
        information[a, b] = information[b, a] = mean_information(bins, i[:pairs], j[:pairs])
    return information


def distinct_pairs(i: Tensor, j: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The distinct unordered pairs of two different numbers among pairs of numbers below n, in random order."""
    pairs = (torch.minimum(i, j) * n + torch.maximum(i, j))[i != j].unique()
    pairs = pairs[torch.randperm(len(pairs))]
    return pairs // n, pairs % n


def mean_information(bins: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """The mean mutual information of pairs of latents and its standard error, (2,); NaN if there are too few."""
    values = information_of_bins(bins[:, i], bins[:, j])
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.full_like(values.sum(), torch.nan)
    return torch.stack([values.mean(), error])


def rank_bins(values: Tensor, bins: int = MI_BINS) -> Tensor:
    """The bin of each value in its column, by rank, (N, variables): bins have equal sizes, and ties are random."""
    rows = values.mT.contiguous()  # sorting is faster along memory
    order = torch.rand(rows.shape).argsort()  # ties are broken at random
    sorted_order = order.gather(1, rows.gather(1, order).argsort())  # the columns of a row by value
    ranks = torch.arange(len(values)).expand_as(rows)
    return (torch.empty_like(order).scatter_(1, sorted_order, ranks) * bins // len(values)).mT.contiguous()


def information_of_bins(a: Tensor, b: Tensor, bins: int = MI_BINS) -> Tensor:
    r"""The mutual information of pairs of variables from their bins (N, pairs), in nats, (pairs,).

    From k = `bins` bins of N samples, as `rank_bins` makes them,

    .. math:: I = \sum_{ij} p_{ij} \ln \frac{p_{ij}}{p_i p_j} - I_0,

    where :math:`I_0 \approx (k - 1)^2 / 2 N` is the mean of the sum for N samples of independent variables: the
    estimate is unbiased for independent variables and may be negative. I is at most ln k, the entropy of the bins.
    """
    n = len(a)
    parts = []
    for i, j in zip(a.split(PAIRS_AT_ONCE, 1), b.split(PAIRS_AT_ONCE, 1), strict=True):
        counts = torch.zeros(bins * bins, i.shape[1], dtype=torch.float64)
        counts.scatter_add_(0, i * bins + j, torch.ones_like(i, dtype=torch.float64))
        joint = (counts / n).unflatten(0, (bins, bins))
        independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        parts.append(torch.special.xlogy(joint, joint / independent.clamp(min=1e-300)).sum((0, 1)))
    return torch.cat(parts) - independent_mean(n, bins)


@cache
def independent_mean(n: int, bins: int) -> float:
    """The exact mean of the sum over bins for n samples of independent variables: cell counts are hypergeometric."""
    sizes, copies = np.unique(np.bincount(np.arange(n) * bins // n), return_counts=True)
    a, b = sizes[:, None, None], sizes[None, :, None]
    count = np.arange(1, sizes.max() + 1)  # an empty cell adds nothing
    parts = hypergeom.pmf(count, n, a, b) * count / n * np.log(count * n / (a * b))
    return float(copies @ parts.sum(2) @ copies)


def information_by_distance(plan: Plan, bins: Tensor, pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """The distances on the tree that occur, the mean mutual information at each in nats, and its error, (n,) each."""
    lattices = [latent.lattice for latent in plan.latents]
    sizes = torch.tensor([lattice.variables for lattice in lattices])
    level, starts = torch.arange(len(sizes)).repeat_interleave(sizes), sizes.cumsum(0) - sizes
    site = torch.cat([
        torch.stack(torch.unravel_index(torch.arange(lattice.sites), lattice.shape), dim=1).repeat(lattice.channels, 1)
        for lattice in lattices
    ])  # fmt: skip
    h = torch.randint(len(sizes), (2, 20 * pairs))  # each level equally often, so that the few coarse latents count too
    drawn = starts[h] + (torch.rand(h.shape, dtype=torch.float64) * sizes[h]).long()
    a, b = distinct_pairs(drawn[0], drawn[1], len(level))
    distance = tree_distance(level[a], site[a], level[b], site[b], [lattice.shape for lattice in lattices])
    distances = distance.unique()
    rows = [(distance == d).nonzero()[:pairs, 0] for d in distances]
    means, errors = torch.stack([mean_information(bins, a[row], b[row]) for row in rows], dim=1)
    return distances, means, errors


def tree_distance(
    level_a: Tensor, site_a: Tensor, level_b: Tensor, site_b: Tensor, lattices: Sequence[Sequence[int]]
) -> Tensor:
    """The tree distance of pairs of latents, (pairs,): the steps up to the first common ancestor and down again.

    The parent of a site is the site of the next level that covers the same pixels. Sites of the coarsest level have a
    common root as parent. Latents of the same level and site are at distance 0. Levels are (pairs,), sites (pairs,
    dim), and `lattices` holds the lattice edges of each level, finest first.
    """
    edges = torch.tensor(lattices)
    ancestor = torch.full_like(level_a, len(lattices))  # the level of the first common ancestor; the root at first
    lowest = torch.maximum(level_a, level_b)
    for level in reversed(range(len(lattices))):
        above_a, above_b = site_a * edges[level] // edges[level_a], site_b * edges[level] // edges[level_b]
        is_common = (above_a == above_b).all(1) & (lowest <= level)
        ancestor = torch.where(is_common, level, ancestor)
    return 2 * ancestor - level_a - level_b


def draw(flow: mera.Flow, images: Tensor, pairs: int) -> Picture:
    """Draw the mutual information of two latents, for each pair of levels and by their distance on the tree."""
    with fixed_seed(0):
        bins = bins_of_latents(flow, images)
        information = information_by_level(flow.plan, bins, pairs)[..., 0]
        distances, means, errors = information_by_distance(flow.plan, bins, pairs)
    figure, (left, right) = panels(2, 2, 4.25, 3.4)
    values = 1e3 * information
    shown = left.imshow(values, cmap="viridis", vmin=0)
    for a, row in enumerate(values.tolist()):
        for b, value in enumerate(row):
            left.text(b, a, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white")
    levels = list(range(len(values)))
    left.set(xlabel="level", ylabel="level", xticks=levels, yticks=levels)
    left.set_title("two latents of two levels", fontsize=9)
    figure.colorbar(shown, ax=left, shrink=0.8)
    right.errorbar(distances, 1e3 * means, 1e3 * errors, fmt="o-", ms=4, capsize=2)
    right.axhline(0, color="0.6", lw=0.8)
    right.set(xlabel="distance on the tree")
    right.set_title("two latents at a distance on the tree", fontsize=9)
    right.grid(alpha=0.3)
    figure.suptitle(f"mean mutual information of two latents of {len(images):,} images, 0.001 nats", fontsize=10)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", nargs="?", default="msds1", help="a run, a file, or a flow of the package")
    parser.add_argument("--data", help="a data set; if left out, that of the flow's name")
    parser.add_argument("--images", type=int, default=4000, help="the number of test images")
    parser.add_argument("--pairs", type=int, default=4000, help="pairs of latents for each estimate")
    parser.add_argument("--out", type=Path, default=Path("latents_tree.png"), help="the picture")
    arguments = parser.parse_args()
    flow = mera.load(arguments.flow)
    data, shape = arguments.data or arguments.flow, flow.plan.input.shape
    options = {"train_size": 1} if mera.data.takes(data, "train_size") else {}
    images = mera.data.first(mera.data.load(data, shape, **options).test, arguments.images)
    save_figure(draw(flow, images, arguments.pairs), arguments.out)
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
