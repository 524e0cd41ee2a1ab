"""Statistics of the latents of data: their distribution compared with the prior, and their dependence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate, combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_count, check_type
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera._utils.table import Numbers, Tabled, numbers
from mera.analysis.latents import encode_levels
from mera.flow.flow import Flow
from mera.graph import Plan

MIN_IMAGES = 20
"""The smallest number of images."""
PRIOR_DRAWS = 200_000
"""The number of samples of the prior that are compared with the latents."""
MI_BINS, PAIRS_AT_ONCE = 8, 512
"""The number of bins of a variable, with equal numbers of samples, and of pairs whose histograms are one batch."""


@dataclass(frozen=True, eq=False, repr=False)
class LatentStatistics(Tabled):
    """Statistics of the latents of data: their distribution compared with the prior, and their dependence.

    Args:
        images: the number of images.
        mean: the root mean square, over the latents of each level, of their mean over the images, less sampling noise,
            (levels,).
        std: the standard deviation of all latents of a level, (levels,).
        kurtosis: the excess kurtosis of all latents of a level, (levels,): 0 for a Gaussian, 3 for a Laplacian.
        distance: the Kolmogorov-Smirnov distance between the latents of a level and draws from the prior, (levels,).
        information: the mean mutual information of two different latents, within a level and between levels, in nats,
            (levels, levels).
        information_error: the standard error of `information` over pairs of latents for fixed images, (levels, levels).
    """

    images: int
    mean: Tensor
    std: Tensor
    kurtosis: Tensor
    distance: Tensor
    information: Tensor
    information_error: Tensor

    @property
    def table(self) -> Numbers:
        """Moments of the latents of each level, their distance from the prior, and information within the level."""
        columns = ["rms of means", "std", "kurtosis", "KS distance", "information within, 0.001 nats", "error"]
        information = [1e3 * matrix.diagonal() for matrix in (self.information, self.information_error)]
        rows = torch.stack([self.mean, self.std, self.kurtosis, self.distance, *information], dim=1).tolist()
        return numbers([f"level {level}" for level in range(len(rows))], columns, rows)


@torch.no_grad()
def statistics(
    flow: Flow, images: Tensor, context: Tensor | None = None, pairs: int = 2000, seed: int = 0
) -> LatentStatistics:
    """Compare the latents of data with independent samples of the prior.

    Training of an RG-Flow minimises the mutual information of latents (Section 3.1 of the paper). The statistics show
    the remaining mutual information within levels and between levels.

    Args:
        images: images (B, C, *shape), uint8; or data in the flow's own space; at least 20.
        context: for a conditional flow, the contexts of the images.
        pairs: the number of random pairs of latents for each pair of levels.
        seed: the seed of the dequantisation, of the pairs and of the samples of the prior.

    Returns:
        The statistics by level, finest first; information is in nats.

    Raises:
        ValueError: if there are fewer than 20 images.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,))
    >>> stats = analysis.statistics(flow, flow.sample(500), pairs=200)
    >>> bool(stats.distance.max() < 0.05)  # latents of samples follow the prior
    True
    """
    from scipy.stats import ks_2samp, kurtosis  # imported late, since `import mera` is to stay light

    check_count(pairs, "pairs", 2)
    check_type(images, Tensor, "images as a tensor")
    if not images.ndim or len(images) < MIN_IMAGES:
        raise InputError(f"at least {MIN_IMAGES} images", str(len(images) if images.ndim else "a single number"))
    with fixed_seed(seed):
        z = [level.flatten(1).double() for level in encode_levels(flow, images, context)]
        (draws,) = flow.prior.sample([(PRIOR_DRAWS,)], [1.0], z[0])
        bins = torch.cat([rank_bins(level) for level in z], dim=1)
        information = _information(flow.plan, bins, pairs)
        samples = [level.flatten()[torch.randperm(level.numel())[:PRIOR_DRAWS]] for level in z]
    means = [level.mean(0).square().mean() - level.var(0).mean() / len(level) for level in z]  # less sampling noise
    return LatentStatistics(
        len(z[0]),
        torch.stack(means).clamp(min=0).sqrt(),
        torch.stack([level.std() for level in z]),
        torch.tensor([kurtosis(level.numpy(), axis=None) for level in z]),
        torch.tensor([ks_2samp(values.numpy(), draws.cpu().numpy(), method="asymp").statistic for values in samples]),
        information[..., 0],
        information[..., 1],
    )


def _information(plan: Plan, bins: Tensor, pairs: int) -> Tensor:
    """The mean mutual information of two latents for each pair of levels, and its error, (levels, levels, 2)."""
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
    from scipy.stats import hypergeom  # imported late, since `import mera` is to stay light

    sizes, copies = np.unique(np.bincount(np.arange(n) * bins // n), return_counts=True)
    a, b = sizes[:, None, None], sizes[None, :, None]
    count = np.arange(1, sizes.max() + 1)  # an empty cell adds nothing
    parts = hypergeom.pmf(count, n, a, b) * count / n * np.log(count * n / (a * b))
    return float(copies @ parts.sum(2) @ copies)
