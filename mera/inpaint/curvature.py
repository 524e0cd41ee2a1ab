"""The curvature of log p at a filling: a metric for Hamiltonian Monte Carlo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mera.bijectors.circular import wrap
from mera.cones import Restriction

DIRECTIONS = 64
"""The most directions along which latents are differentiated together."""
STEP = 1e-3
"""The step of a difference quotient, in standard deviations of the image's variables."""


@torch.no_grad()
def curvature(local: Restriction, row: Tensor, of_angles: bool = False) -> Tensor:
    """J^T J for the Jacobian J of the latents in the cone: minus the second derivatives of log p for Gaussian latents.

    J is made of central differences, one for each masked variable, and not of gradients, one for each latent: a metric
    needs no more digits, a cone has at least as many latents as masked variables, and no evaluation has to be kept for
    gradients.

    Args:
        local: the restriction of the flow to the masked pixels.
        row: fillings, (K, C n).
        of_angles: whether latents are angles, whose differences are taken around the circle.

    Returns:
        A positive semi-definite matrix for each filling, (K, C n, C n).
    """
    jacobians = torch.stack([_jacobian(local, filling, of_angles) for filling in row])
    return jacobians.mT @ jacobians


def _jacobian(local: Restriction, filling: Tensor, of_angles: bool) -> Tensor:
    """The Jacobian (latents, C n) of the cone's latents with respect to the masked variables (C n,)."""
    n = len(filling)
    width = -(-n // -(-n // DIRECTIONS))  # parts of equal width, for one recording
    step = STEP * (local.view.std().item() or 1.0)
    shifts = step * torch.eye(n, dtype=filling.dtype, device=filling.device)
    columns = []
    for part in F.pad(shifts, (0, 0, 0, -n % width)).split(width):
        pixels = (filling + torch.cat([part, -part])).unflatten(1, local.pixels.shape[1:])
        above, below = torch.cat([level.flatten(1) for level in local.encode(pixels)], dim=1).chunk(2)
        columns.append((wrap(above - below) if of_angles else above - below) / (2 * step))
    return torch.cat(columns)[:n].mT
