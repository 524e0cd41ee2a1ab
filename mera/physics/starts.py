"""Over-dispersed fields from which samplers start, so that chains see phases that are far apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mera.physics.action import Action

SCALES = (1.0, 0.5, 2.0)
"""The standard deviations of noise, for one start after the other."""
NOISE = 0.1
"""The standard deviation of the noise on constant fields."""
LARGEST, GRID = 100.0, 801
"""The largest constant of the scan, and the number of constants, which lie closer near 0."""
MOST = 4
"""The most minima from which chains start, those of the least action."""


def wells(action: Action, shape: Sequence[int]) -> Tensor:
    """The constants c >= 0 at which the action of a constant field has a local minimum, the lowest first.

    The field is c in the first channel and 0 in others. Other minima of an action without a symmetry lie at -c, too.

    Args:
        action: the action.
        shape: the shape (C, *shape) of a field.

    Returns:
        The constants, with their signs, at most 4; empty if the action is finite nowhere.

    >>> from mera import physics
    >>> wells(physics.Phi4(-2.0, 0.25), (1, 4, 4)).abs().round(decimals=1)
    tensor([1.4000, 1.4000], dtype=torch.float64)
    """
    grid = torch.linspace(-1, 1, GRID, dtype=torch.float64) * math.asinh(LARGEST)
    constants = grid.sinh()
    fields = torch.zeros(GRID, *shape, dtype=torch.float64)
    fields[:, 0] = constants.view(-1, *(1 for _ in shape[1:]))
    values = torch.cat([action(part) for part in fields.split(64)]).double().nan_to_num(math.inf)
    inner = values[1:-1]
    lowest = (inner <= values[:-2]) & (inner < values[2:]) & inner.isfinite()
    found = constants[1:-1][lowest]
    return found[inner[lowest].argsort()][:MOST]


def starts(action: Action, shape: Sequence[int], n: int) -> Tensor:
    """Over-dispersed fields, (n, C, *shape), in double precision.

    Every second field is noise, of one of several scales. The others are constants with a little noise: minima of the
    action on constant fields and their images under its symmetries, a random direction of channels and, for angles, a
    random angle. A field whose action is not finite is unit noise instead.

    Args:
        action: the action.
        shape: the shape (C, *shape) of a field.
        n: the number of fields.
    """
    noise = torch.randn(n, *shape, dtype=torch.float64)
    ones = [1 for _ in shape[1:]]
    if action.is_compact:
        angles = math.pi * (2 * torch.rand(n, *shape, dtype=torch.float64) - 1)
        angles[1::2] = math.pi * (2 * torch.rand(len(angles[1::2]), shape[0], *ones, dtype=torch.float64) - 1)
        return angles
    scales = torch.tensor([SCALES[i // 2 % len(SCALES)] for i in range(n)], dtype=torch.float64)
    fields = noise * scales.view(-1, 1, *ones)
    minima = wells(action, shape)
    if len(minima):
        places = torch.arange(len(fields[1::2])) % len(minima)
        directions = torch.randn(len(places), shape[0], *ones, dtype=torch.float64)
        directions = normalize(directions, dim=1) if shape[0] > 1 else torch.ones_like(directions)
        fields[1::2] = minima[places].view(-1, 1, *ones) * directions + NOISE * noise[1::2]
    return torch.where(action(fields).isfinite().view(-1, 1, *ones), fields, noise)
