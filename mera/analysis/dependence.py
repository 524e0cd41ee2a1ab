"""Dependence of latents: mutual information, and distances on the tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

BINS = 8
"""The number of bins for each variable, with equal numbers of samples."""
PAIRS = 512
"""The number of pairs whose histograms are computed in one batch."""


def rank_bins(values: Tensor, bins: int = BINS) -> Tensor:
    """The bin of each value in its column, by rank, (N, variables): bins have equal sizes, and ties are random."""
    rows = values.mT.contiguous()  # sorting is faster along memory
    order = torch.rand(rows.shape, device=rows.device).argsort()  # ties are broken at random
    ranks = _inverse(rows.gather(1, order).argsort())
    return (torch.empty_like(ranks).scatter_(1, order, ranks) * bins // len(values)).mT.contiguous()


def _inverse(permutations: Tensor) -> Tensor:
    """The inverse of the permutation in each row."""
    places = torch.arange(permutations.shape[1], device=permutations.device).expand_as(permutations)
    return torch.empty_like(permutations).scatter_(1, permutations, places)


def information_of_bins(a: Tensor, b: Tensor, bins: int = BINS) -> Tensor:
    r"""The mutual information of pairs of variables from their bins (N, pairs), in nats, (pairs,).

    From k = `bins` bins of N samples, as `rank_bins` makes them,

    .. math:: I = \sum_{ij} p_{ij} \ln \frac{p_{ij}}{p_i p_j} - I_0,

    where :math:`I_0 \approx (k - 1)^2 / 2 N` is the mean of the sum for N samples of independent variables: the
    estimate is unbiased for independent variables and may be negative. I is at most ln k, the entropy of the bins.

    >>> import torch
    >>> x = torch.arange(8000.0)[:, None]
    >>> round(information_of_bins(rank_bins(x), rank_bins(-x)).item(), 2)  # ln 8 = 2.08, less 49 / 16000
    2.08
    """
    n = len(a)
    parts = []
    for start in range(0, a.shape[1], PAIRS):
        cells = a[:, start : start + PAIRS] * bins + b[:, start : start + PAIRS]
        counts = torch.zeros(bins * bins, cells.shape[1], dtype=torch.float64, device=a.device)
        counts.scatter_add_(0, cells, torch.ones_like(cells, dtype=torch.float64))
        joint = (counts / n).unflatten(0, (bins, bins))
        independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        parts.append(torch.special.xlogy(joint, joint / independent.clamp(min=1e-300)).sum((0, 1)))
    return torch.cat([*parts, a.new_empty(0, dtype=torch.float64)]) - independent_mean(n, bins)


@cache
def independent_mean(n: int, bins: int) -> float:
    """The exact mean of the sum over bins for n samples of independent variables, whose cell counts are hypergeometric.

    >>> round(independent_mean(2000, 8), 5), 7**2 / 4000
    (0.01233, 0.01225)
    """
    sizes = torch.bincount(torch.arange(n) * bins // n, minlength=bins).double()
    a, b = sizes[:, None, None], sizes[None, :, None]
    count = torch.arange(int(sizes.max()) + 1, dtype=torch.float64)

    def log_choose(total: Tensor, part: Tensor) -> Tensor:
        is_possible = (part >= 0) & (part <= total)
        part = part.clamp(min=0).minimum(total)
        value = torch.lgamma(total + 1) - torch.lgamma(part + 1) - torch.lgamma(total - part + 1)
        return torch.where(is_possible, value, -torch.inf)

    samples = torch.tensor(float(n), dtype=torch.float64)
    probability = (log_choose(b, count) + log_choose(n - b, a - count) - log_choose(samples, a)).exp()
    return (probability * torch.special.xlogy(count / n, count.clamp(min=1) * n / (a * b))).sum().item()


def tree_distance(
    level_a: Tensor, site_a: Tensor, level_b: Tensor, site_b: Tensor, lattices: Sequence[Sequence[int]]
) -> Tensor:
    """The tree distance of pairs of latents, (pairs,): the steps up to the first common ancestor and down again.

    The parent of a site is the site of the next level that covers the same pixels. Sites of the coarsest level have a
    common root as parent. Latents of the same level and site are at distance 0.

    Levels are (pairs,), sites (pairs, dim), and `lattices` holds the lattice edges of each level, finest first.

    >>> import torch
    >>> level, site = torch.tensor([0, 0, 0, 0]), torch.tensor([[0], [0], [0], [0]])
    >>> tree_distance(level, site, level, torch.tensor([[0], [1], [2], [4]]), [[8], [4], [2]]).tolist()
    [0, 2, 4, 6]
    """
    edges = torch.tensor([list(map(int, lattice)) for lattice in lattices], device=site_a.device)
    ancestor = torch.full_like(level_a, len(lattices))  # the level of the first common ancestor; the root at first
    lowest = torch.maximum(level_a, level_b)
    for level in reversed(range(len(lattices))):
        above_a, above_b = site_a * edges[level] // edges[level_a], site_b * edges[level] // edges[level_b]
        is_common = (above_a == above_b).all(1) & (lowest <= level)
        ancestor = torch.where(is_common, level, ancestor)
    return 2 * ancestor - level_a - level_b
