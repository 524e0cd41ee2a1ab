"""The curvature of log p at a filling: a metric for Hamiltonian Monte Carlo."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.cones import Restriction

DIRECTIONS = 64
"""The number of directions along which latents are differentiated together."""
STEP = 1e-3
"""The step of a difference quotient, in the flow's own space, where variables are of the order of 1."""


@torch.no_grad()
def curvature(local: Restriction, row: Tensor) -> Tensor:
    """J^T J for the Jacobian J of the latents in the cone: minus the second derivatives of log p for Gaussian latents.

    J is made of central differences, one for each masked variable, and not of gradients, one for each latent: a metric
    needs no more digits, a cone has more latents than masked variables, and no evaluation has to be kept for gradients.

    Args:
        local: the restriction of the flow to the masked pixels.
        row: fillings, (K, C n).

    Returns:
        A positive semi-definite matrix for each filling, (K, C n, C n).
    """
    jacobians = torch.stack([_jacobian(local, filling) for filling in row])
    return jacobians.mT @ jacobians


def _jacobian(local: Restriction, filling: Tensor) -> Tensor:
    """The Jacobian (latents, C n) of the cone's latents with respect to the masked variables (C n,)."""
    columns = []
    for steps in (STEP * torch.eye(len(filling)).to(filling)).split(DIRECTIONS):
        steps = torch.cat([steps, steps.new_zeros(DIRECTIONS - len(steps), len(filling))])  # shapes that do not change
        pixels = (filling + torch.cat([steps, -steps])).unflatten(1, local.pixels.shape[1:])
        above, below = torch.cat([level.flatten(1) for level in local.encode(pixels)], dim=1).chunk(2)
        columns.append((above - below) / (2 * STEP))
    return torch.cat(columns)[: len(filling)].mT
