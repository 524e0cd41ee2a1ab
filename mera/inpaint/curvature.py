"""The curvature of log p at a filling: a metric for Hamiltonian Monte Carlo."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.cones import Restriction

ROWS = 128
"""The number of rows of a Jacobian that are computed together."""


def curvature(local: Restriction, row: Tensor) -> Tensor:
    """J^T J for the Jacobian J of the latents in the cone: minus the second derivatives of log p for Gaussian latents.

    Args:
        local: the restriction of the flow to the masked pixels.
        row: fillings, (K, C n).

    Returns:
        A positive semi-definite matrix for each filling, (K, C n, C n).
    """
    jacobians = torch.stack([_jacobian(local, filling.unflatten(0, local.pixels.shape[1:])) for filling in row])
    return jacobians.mT @ jacobians


def _jacobian(local: Restriction, pixels: Tensor) -> Tensor:
    """The Jacobian (latents, C n) of the cone's latents with respect to the masked pixels (C, n)."""
    latents = sum(channels * n for channels, n in local.latent_shapes)
    rows = []
    for part in torch.arange(latents, device=pixels.device).split(ROWS):
        copies = pixels.detach().expand(ROWS, -1, -1).clone().requires_grad_()  # ROWS also for the last part
        z = torch.cat([level.flatten(1) for level in local.encode(copies)], dim=1)
        diagonal = z[torch.arange(len(part), device=z.device), part]  # latent part[i] of copy i
        (gradient,) = torch.autograd.grad(diagonal.sum(), copies)
        rows.append(gradient[: len(part)].flatten(1))
    return torch.cat(rows)
