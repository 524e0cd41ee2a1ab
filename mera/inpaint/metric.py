"""The metric of fillings: minus the second derivatives of log p for Gaussian latents, from difference quotients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mera._utils.torch_modes import in_threads
from mera.bijectors.circular import wrap
from mera.cones import Restriction

MIN_EIGENVALUE = 1e-8
"""The lower bound of the eigenvalues of a metric, relative to the largest eigenvalue."""
SPACING = 12
"""The distance between masked pixels that are changed together."""
BATCH = 64
"""The most changed fillings that are encoded together."""
DIFFERENCE = 1e-3
"""The step of a difference quotient, in standard deviations of the image's variables."""


@torch.no_grad()
def curvature(local: Restriction, row: Tensor, of_angles: bool = False) -> Tensor:
    """J^T J for the Jacobian J of the latents in the cone: minus the second derivatives of log p for Gaussian latents.

    J is made of difference quotients rather than of a gradient for each latent: a metric needs no more digits, a cone
    has at least as many latents as masked variables, and no evaluation has to be kept for gradients. Masked pixels that
    are `SPACING` apart are changed together, and the change of a latent counts for the nearest, so that J has at most
    `SPACING` squared columns for a channel; in smaller holes it is exact. Angles are subtracted around the circle. From
    a filling (C n,) to (C n, C n).
    """
    channels, n = local.pixels.shape[1:]
    step = DIFFERENCE * (local.image.std().item() or 1.0)
    group, nearest = (indices.to(row.device) for indices in _groups(local))

    def encode(part: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([level.flatten(1) for level in local.encode(part)], dim=1)

    changed = torch.block_diag(*[F.one_hot(group).mT] * channels).to(row)
    columns = len(changed)
    width = -(-(columns + 1) // -(-(columns + 1) // BATCH))  # parts of equal width, for one recording
    shifts = F.pad(step * changed, (0, 0, 1, -(columns + 1) % width))
    parts = (row + shifts).unflatten(1, (channels, n)).split(width)
    latents = torch.cat(list(in_threads(encode, parts, row.device)))
    change = latents[1 : columns + 1] - latents[:1]
    change = (wrap(change) if of_angles else change) / step
    pixels = torch.cat([nearest + n * channel for channel in range(channels)])
    jacobian = change.new_zeros(len(row), change.shape[1]).scatter(0, pixels, change)
    return jacobian @ jacobian.mT


def _groups(local: Restriction) -> tuple[Tensor, Tensor]:
    """For each masked pixel its group (n,); for each group and latent in the cone the nearest pixel, (G, latents)."""
    lattice = local.cone.plan.input
    edges, periodic = torch.tensor(lattice.shape), torch.tensor(lattice.periodic)
    at = _coordinates(local.sites, lattice.shape)
    group = (at % SPACING).unique(dim=0, return_inverse=True)[1]
    levels = []
    for latent, sites in zip(local.cone.plan.latents, local.cone.sites, strict=True):
        stride = edges / torch.tensor(latent.lattice.shape)
        gap = ((_coordinates(sites, latent.lattice.shape) + 0.5) * stride - 0.5)[:, None] - at
        gap = torch.where(periodic, torch.minimum(gap.abs(), edges - gap.abs()), gap)
        distance = gap.square().sum(2)  # squared, between the site of a latent and a pixel
        nearest = [distance.where(group == k, torch.inf).argmin(1) for k in range(int(group.max()) + 1)]
        levels.append(torch.stack(nearest).repeat(1, latent.lattice.channels))
    return group, torch.cat(levels, dim=1)


def _coordinates(sites: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The coordinates (n, dimensions) of sites (n,), by flat index."""
    return torch.stack(torch.unravel_index(sites, shape), dim=1)


def whitening(metric: Tensor) -> Tensor:
    """For a metric M (d, d), whose eigenvalues are raised a little, a matrix S with S S^T = M^-1."""
    dtype, metric = metric.dtype, metric.double().nan_to_num()
    floor = MIN_EIGENVALUE * metric.trace().clamp(min=1e-12) * torch.eye(len(metric)).to(metric)
    factor = torch.linalg.cholesky(metric + floor)
    return torch.linalg.solve_triangular(factor, torch.eye(len(metric)).to(metric), upper=False).mT.to(dtype)
