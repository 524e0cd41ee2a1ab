"""Comparison of the latents of data with the prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import check_type
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera._utils.table import Numbers, Tabled, numbers
from mera.analysis.latents import encode_levels
from mera.flow.flow import Flow

MIN_IMAGES = 20
"""The smallest number of images."""
PRIOR_DRAWS = 200_000
"""The number of samples of the prior that are compared with the latents."""


@dataclass(frozen=True, eq=False, repr=False)
class LatentStatistics(Tabled):
    """Statistics of the latents of data: their distribution compared with the prior.

    Args:
        images: the number of images.
        mean: the root mean square, over the latents of each level, of their mean over the images, less sampling noise,
            (levels,).
        std: the standard deviation of all latents of a level, (levels,).
        kurtosis: the excess kurtosis of all latents of a level, (levels,): 0 for a Gaussian, 3 for a Laplacian.
        distance: the Kolmogorov-Smirnov distance between the latents of a level and draws from the prior, (levels,).
    """

    images: int
    mean: Tensor
    std: Tensor
    kurtosis: Tensor
    distance: Tensor

    @property
    def table(self) -> Numbers:
        """Moments of the latents of each level, and their distance from the prior."""
        rows = torch.stack([self.mean, self.std, self.kurtosis, self.distance], dim=1).tolist()
        columns = ["rms of means", "std", "kurtosis", "KS distance"]
        return numbers([f"level {level}" for level in range(len(rows))], columns, rows)


@torch.no_grad()
def statistics(flow: Flow, images: Tensor, context: Tensor | None = None, seed: int = 0) -> LatentStatistics:
    """Compare the latents of data with independent samples of the prior.

    Args:
        images: images (B, C, *shape), uint8; or data in the flow's own space; at least 20.
        context: for a conditional flow, the contexts of the images.
        seed: the seed of the dequantisation and of the samples of the prior.

    Returns:
        The statistics by level, finest first.

    Raises:
        ValueError: if there are fewer than 20 images.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,))
    >>> stats = analysis.statistics(flow, flow.sample(500))
    >>> bool(stats.distance.max() < 0.05)  # latents of samples follow the prior
    True
    """
    from scipy.stats import ks_2samp, kurtosis  # imported late, since `import mera` is to stay light

    check_type(images, Tensor, "images as a tensor")
    if not images.ndim or len(images) < MIN_IMAGES:
        raise InputError(f"at least {MIN_IMAGES} images", str(len(images) if images.ndim else "a single number"))
    with fixed_seed(seed):
        z = [level.flatten(1).double() for level in encode_levels(flow, images, context)]
        (draws,) = flow.prior.sample([(PRIOR_DRAWS,)], [1.0], z[0])
        samples = [level.flatten()[torch.randperm(level.numel())[:PRIOR_DRAWS]] for level in z]
    means = [level.mean(0).square().mean() - level.var(0).mean() / len(level) for level in z]  # less sampling noise
    return LatentStatistics(
        len(z[0]),
        torch.stack(means).clamp(min=0).sqrt(),
        torch.stack([level.std() for level in z]),
        torch.tensor([kurtosis(level.numpy(), axis=None) for level in z]),
        torch.tensor([ks_2samp(values.numpy(), draws.cpu().numpy(), method="asymp").statistic for values in samples]),
    )
