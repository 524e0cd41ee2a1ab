"""Latents by name: a level, a channel and a site."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.graph import Plan

LatentIndex = tuple[int, ...]
"""(level, channel, *site): a latent variable; level 0 is the finest."""


def check_level(plan: Plan, level: object) -> int:
    """Return the number of a level, and refuse any that a flow does not have.

    Args:
        plan: the plan of the flow.
        level: the number, 0 for the finest level.

    Raises:
        ValueError: if there is no such level.
    """
    if not is_integer(level) or not 0 <= level < len(plan.latents):  # type: ignore[operator]
        raise InputError(f"a level from 0 to {len(plan.latents) - 1}", repr(level))
    return int(level)  # type: ignore[call-overload]


def check_latent(plan: Plan, latent: object) -> LatentIndex:
    """Return a latent as a tuple of integers, and refuse any that a flow does not have.

    Args:
        plan: the plan of the flow.
        latent: (level, channel, *site).

    Raises:
        ValueError: if there is no such latent.
    """
    values = latent.tolist() if isinstance(latent, Tensor) else latent
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise InputError("a latent (level, channel, *site)", repr(latent))
    numbers = tuple(values)
    lattice = plan.latents[check_level(plan, numbers[0] if numbers else None)].lattice
    sizes = lattice.event_shape
    is_inside = len(numbers) == 1 + len(sizes) and all(
        is_integer(number) and 0 <= number < size for number, size in zip(numbers[1:], sizes, strict=True)
    )
    if not is_inside:
        raise InputError(f"a channel and a site of level {numbers[0]}, which is {lattice}", repr(numbers[1:]))
    return tuple(map(int, numbers))


def latents_of_level(plan: Plan, level: int) -> Sequence[LatentIndex]:
    """All latents of a level, by channel and then by site.

    Args:
        plan: the plan of the flow.
        level: the level, 0 for the finest.
    """
    shape = plan.latents[check_level(plan, level)].lattice.event_shape
    found = []
    for number in range(math.prod(shape)):
        place = []
        for size in reversed(shape):
            number, coordinate = divmod(number, size)
            place.append(coordinate)
        found.append((level, *reversed(place)))
    return found
