"""The pinwheel of App. C: which part of the prior becomes which leg of the data."""

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
    """How well parts of the prior and legs of the data agree, for the best one-to-one assignment of parts to legs.

    Args:
        quadrants: the fraction of points whose leg is the one assigned to the quadrant of their latents.
        axes: the same for the four sectors of 90 degrees around the axes of the latents.
    """

    quadrants: float
    axes: float

    @property
    def best(self) -> float:
        """The larger fraction."""
        return max(self.quadrants, self.axes)


def pinwheel(n: int, seed: int = 0) -> Tensor:
    """Points of a pinwheel with four legs (RG-Flow, App. C and Fig. 9, https://arxiv.org/abs/2010.00029).

    Args:
        n: the number of points.
        seed: the seed.

    Returns:
        The points, (n, 2).
    """
    with fixed_seed(seed):
        leg = torch.randint(LEGS, (n,))
        along, across = (1 + RADIAL * torch.randn(n), TANGENTIAL * torch.randn(n))
    angle = leg * (2 * math.pi / LEGS) + TWIST * along.exp()
    cos, sin = angle.cos(), angle.sin()
    return RADIUS * torch.stack([cos * along - sin * across, sin * along + cos * across], dim=1)


def leg_of(points: Tensor) -> Tensor:
    """The leg that points lie on, from 0 to 3, (n,).

    Args:
        points: points of the plane, (n, 2).
    """
    along = points.norm(dim=1) / RADIUS
    angle = torch.atan2(points[:, 1], points[:, 0]) - TWIST * along.exp()
    return (angle / (2 * math.pi / LEGS)).round().long() % LEGS


def sector_of(latents: Tensor, around_axes: bool = False) -> Tensor:
    """The quadrant of latents, or the sector of 90 degrees around an axis, from 0 to 3, (n,).

    Args:
        latents: points of the latent plane, (n, 2).
        around_axes: whether sectors are centred on the axes.
    """
    turns = torch.atan2(latents[:, 1], latents[:, 0]) / (2 * math.pi / LEGS)
    return (turns.round() if around_axes else turns.floor()).long() % LEGS


@torch.no_grad()
def agreement(flow: Flow, n: int = 5000, seed: int = 0) -> Agreement:
    """The fraction of samples whose part of the prior and whose leg agree.

    Args:
        flow: a flow of two variables that has learnt the pinwheel.
        n: the number of samples.
        seed: the seed of the samples.
    """
    with fixed_seed(seed):
        z = flow.sample_latents(n)
    latents, leg = z[0].flatten(1).cpu(), leg_of(flow.inverse(z)[0].flatten(1).cpu())
    return Agreement(*(_matched(sector_of(latents, around_axes), leg) for around_axes in (False, True)))


def _matched(part: Tensor, leg: Tensor) -> float:
    """The fraction of points with the leg of their part, for the best assignment of parts to legs."""
    together = torch.zeros(LEGS, LEGS, dtype=torch.long)
    together.index_put_((part, leg), torch.ones_like(leg), accumulate=True)
    return max(sum(together[k, order[k]].item() for k in range(LEGS)) for order in permutations(range(LEGS))) / len(leg)
