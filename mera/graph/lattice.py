"""Lattices, and the check of sizes in a node's settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mera._utils.checks import is_integer, is_list
from mera.graph.layout_error import LayoutError


def per_dimension(value: int | Sequence[int], dim: int, field: str, minimum: int) -> tuple[int, ...]:
    """Expand a setting, one integer >= `minimum` or one for each dimension, to a tuple; refuse any other value."""
    values: tuple[Any, ...] = tuple(value) if is_list(value) else (value,) * dim
    if len(values) != dim or not all(is_integer(v) and v >= minimum for v in values):
        expected = f"the {field} to be an integer >= {minimum} or {dim} of them"
        raise LayoutError(expected, repr(value), field=field)
    return tuple(int(v) for v in values)


@dataclass(frozen=True)
class Lattice:
    """A rectangular lattice in 1, 2 or 3 dimensions, with one or more variables (channels) at each site.

    Args:
        channels: the number of variables at a site.
        shape: for each dimension the number of sites along the edge.
        periodic: for each dimension, whether the last site is a neighbour of the first.
    """

    channels: int
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not is_integer(self.channels) or self.channels < 1:
            raise LayoutError("a positive number of channels", f"{self.channels!r}", field="channels")
        if not isinstance(self.shape, tuple) or len(self.shape) not in (1, 2, 3):
            raise LayoutError("a lattice shape of 1 to 3 edge lengths", f"{self.shape!r}", field="shape")
        if not all(is_integer(n) and n > 0 for n in self.shape):
            raise LayoutError("positive edge lengths", f"{self.shape!r}", field="shape")
        if self.variables >= 2**63:  # flat indices are of type int64
            raise LayoutError("a lattice of fewer than 2^63 variables", f"{self}", field="shape")
        periodic = self.periodic if isinstance(self.periodic, tuple) else ()
        if len(periodic) != self.dim or not all(type(value) is bool for value in periodic):
            expected = f"a tuple of {self.dim} bools, whether each dimension is periodic"
            raise LayoutError(expected, f"{self.periodic!r}", field="boundary")

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one sample, (channels, *shape)."""
        return (self.channels, *self.shape)

    @property
    def sites(self) -> int:
        """The number of sites."""
        return math.prod(self.shape)

    @property
    def variables(self) -> int:
        """The number of variables at all sites."""
        return self.channels * self.sites

    @property
    def is_picture(self) -> bool:
        """Return whether a sample has the shape of a picture, with two dimensions and 1 or 3 channels."""
        return self.dim == 2 and self.channels in (1, 3)

    def __str__(self) -> str:
        return f"{self.channels} x {' x '.join(map(str, self.shape))}"


def brief(values: Sequence[int]) -> str:
    """Sizes of all dimensions as text, or one number if all sizes are equal.

    >>> brief((4, 2)), brief((4, 4))
    ('4x2', '4')
    """
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))
