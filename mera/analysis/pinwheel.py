"""The pinwheel of RG-Flow, App. C: which part of the prior is mapped to which leg of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from mera._utils.random import fixed_seed
from mera.flow import Flow

LEGS = 4
RADIUS, RADIAL, TANGENTIAL, TWIST = 2.0, 0.3, 0.1, 0.25


@dataclass(frozen=True)
class Agreement:
    """The agreement of parts of the prior with legs of the data, for the best one-to-one assignment of parts to legs.

    Args:
        quadrants: the fraction of points whose leg is assigned to the quadrant of their latents.
        axes: the fraction of points whose leg is assigned to the 90-degree sector, centred on an axis, of the latents.
    """

    quadrants: float
    axes: float

    @property
    def best(self) -> float:
        """The larger of the two fractions."""
        return max(self.quadrants, self.axes)


def pinwheel(n: int, seed: int = 0) -> Tensor:
    """Draw n points (n, 2) of a pinwheel with four legs (RG-Flow, App. C, Fig. 9, https://arxiv.org/abs/2010.00029)."""
    with fixed_seed(seed):
        leg = torch.randint(LEGS, (n,))
        along, across = (1 + RADIAL * torch.randn(n), TANGENTIAL * torch.randn(n))
    angle = leg * (2 * math.pi / LEGS) + TWIST * along.exp()
    cos, sin = angle.cos(), angle.sin()
    return RADIUS * torch.stack([cos * along - sin * across, sin * along + cos * across], dim=1)


def leg_of(points: Tensor) -> Tensor:
    """The leg of each point (n, 2), from 0 to 3, (n,)."""
    along = points.norm(dim=1) / RADIUS
    angle = torch.atan2(points[:, 1], points[:, 0]) - TWIST * along.exp()
    return (angle / (2 * math.pi / LEGS)).round().long() % LEGS


def sector_of(latents: Tensor, around_axes: bool = False) -> Tensor:
    """The quadrant of latents (n, 2), or the 90-degree sector centred on an axis, from 0 to 3, (n,)."""
    turns = torch.atan2(latents[:, 1], latents[:, 0]) / (2 * math.pi / LEGS)
    return (turns.round() if around_axes else turns.floor()).long() % LEGS


@torch.no_grad()
def agreement(flow: Flow, n: int = 5000, seed: int = 0) -> Agreement:
    """The agreement of the latents of n samples with the legs, for a flow of two variables trained on the pinwheel."""
    with fixed_seed(seed):
        z = flow.sample_latents(n)
    latents, leg = z[0].flatten(1).cpu(), leg_of(flow.inverse(z)[0].flatten(1).cpu())
    return Agreement(*(_matched(sector_of(latents, around_axes), leg) for around_axes in (False, True)))


def _matched(part: Tensor, leg: Tensor) -> float:
    """The fraction of points whose leg is assigned to their part, for the best assignment of parts to legs."""
    together = torch.zeros(LEGS, LEGS, dtype=torch.long)
    together.index_put_((part, leg), torch.ones_like(leg), accumulate=True)
    return max(sum(together[k, order[k]].item() for k in range(LEGS)) for order in permutations(range(LEGS))) / len(leg)
