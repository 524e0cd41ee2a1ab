"""How much latents know of each other: correlations, mutual information, and distances on the tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

BINS = 8
"""Bins of equal numbers of samples for each variable."""
PAIRS = 512
"""Pairs whose histograms are counted at a time."""


def mutual_information(a: Tensor, b: Tensor, bins: int = BINS) -> Tensor:
    r"""The mutual information of pairs of variables, in nats.

    Values are put in k bins of equal numbers of samples, and

    .. math:: I = \sum_{ij} p_{ij} \ln \frac{p_{ij}}{p_i p_j} - I_0,

    where :math:`I_0 \approx (k - 1)^2 / 2 N` is the mean of the sum for N samples of independent variables, so that the
    estimate is right on average there, and may be negative. Bins hide what happens within them: I is at most ln k.

    Args:
        a: samples of the first variables, (N, pairs).
        b: samples of the second variables, (N, pairs).
        bins: k.

    Returns:
        The mutual information of each pair, (pairs,), in double precision.

    >>> import torch
    >>> x = torch.arange(8000.0)[:, None]
    >>> round(mutual_information(x, -x).item(), 2)  # ln 8 = 2.08, less 49 / 16000
    2.08
    """
    return information_of_bins(rank_bins(a, bins), rank_bins(b, bins), bins)


def rank_bins(values: Tensor, bins: int = BINS) -> Tensor:
    """The bin of each value in its column, by rank, so that bins have equal numbers of values; ties are random.

    Args:
        values: samples of variables, (N, variables).
        bins: the number of bins.
    """
    order = torch.rand(values.shape, device=values.device).argsort(0)  # equal values are ranked at random
    ranks = values.gather(0, order).argsort(0).argsort(0)
    return torch.empty_like(ranks).scatter_(0, order, ranks) * bins // len(values)


def information_of_bins(a: Tensor, b: Tensor, bins: int = BINS) -> Tensor:
    """The mutual information of pairs of variables from their bins; see `mutual_information`.

    Args:
        a: the bins of the first variables, (N, pairs).
        b: the bins of the second variables, (N, pairs).
        bins: the number of bins.
    """
    n = len(a)
    found = []
    for start in range(0, a.shape[1], PAIRS):
        cells = a[:, start : start + PAIRS] * bins + b[:, start : start + PAIRS]
        counts = torch.zeros(bins * bins, cells.shape[1], dtype=torch.float64, device=a.device)
        counts.scatter_add_(0, cells, torch.ones_like(cells, dtype=torch.float64))
        joint = (counts / n).unflatten(0, (bins, bins))
        independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        found.append(torch.special.xlogy(joint, joint / independent.clamp(min=1e-300)).sum((0, 1)))
    return torch.cat([*found, a.new_empty(0, dtype=torch.float64)]) - independent_mean(n, bins)


@cache
def independent_mean(n: int, bins: int) -> float:
    """The mean of the sum over bins for independent variables, exactly: the numbers in cells are hypergeometric.

    Args:
        n: the number of samples.
        bins: the number of bins of each variable.

    >>> round(independent_mean(2000, 8), 5), 7**2 / 4000
    (0.01233, 0.01225)
    """
    sizes = torch.bincount(torch.arange(n) * bins // n, minlength=bins).double()
    a, b = sizes[:, None, None], sizes[None, :, None]
    count = torch.arange(int(sizes.max()) + 1, dtype=torch.float64)

    def log_choose(total: Tensor, part: Tensor) -> Tensor:
        is_possible = (part >= 0) & (part <= total)
        inside = part.clamp(min=0).minimum(total)
        value = torch.lgamma(total + 1) - torch.lgamma(inside + 1) - torch.lgamma(total - inside + 1)
        return torch.where(is_possible, value, -torch.inf)

    everything = torch.tensor(float(n), dtype=torch.float64)
    chance = (log_choose(b, count) + log_choose(n - b, a - count) - log_choose(everything, a)).exp()
    return (chance * torch.special.xlogy(count / n, count.clamp(min=1) * n / (a * b))).sum().item()


def squared_correlation(z: Tensor) -> Tensor:
    """The squared correlation of all pairs of variables, less its mean for independent variables, 1 / (N - 1).

    Args:
        z: samples, (N, variables).

    Returns:
        (variables, variables).
    """
    centred = z.double() - z.double().mean(0)
    scaled = centred / centred.norm(dim=0).clamp(min=1e-300)
    return (scaled.mT @ scaled).square() - 1 / (len(z) - 1)


def tree_distance(
    level_a: Tensor, site_a: Tensor, level_b: Tensor, site_b: Tensor, lattices: Sequence[Sequence[int]]
) -> Tensor:
    """The distance of pairs of latents on the tree: the steps from one up to their first common site, and down again.

    A site of a level lies below the site of the next level that stands for the same pixels. Sites of the coarsest
    level lie below a common root. Latents of the same level and site are at distance 0.

    Args:
        level_a: the levels of the first latents, (pairs,).
        site_a: their sites, (pairs, dim).
        level_b: the levels of the second latents, (pairs,).
        site_b: their sites, (pairs, dim).
        lattices: for each level, finest first, the edges of the lattice of its latents.

    Returns:
        The distances, (pairs,), integers.

    >>> import torch
    >>> level, site = torch.tensor([0, 0, 0, 0]), torch.tensor([[0], [0], [0], [0]])
    >>> tree_distance(level, site, level, torch.tensor([[0], [1], [2], [4]]), [[8], [4], [2]]).tolist()
    [0, 2, 4, 6]
    """
    edges = torch.tensor([list(map(int, lattice)) for lattice in lattices], device=site_a.device)
    first_common = torch.full_like(level_a, len(lattices))  # the root
    lowest = torch.maximum(level_a, level_b)
    for level in reversed(range(len(lattices))):
        above = [site * edges[level] // edges[start] for site, start in ((site_a, level_a), (site_b, level_b))]
        is_common = (above[0] == above[1]).all(1) & (lowest <= level)
        first_common = torch.where(is_common, level, first_common)
    return 2 * first_common - level_a - level_b
