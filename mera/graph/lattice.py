"""Lattices, and checks of what is declared on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from mera._utils.checks import is_integer
from mera.graph.errors import LayoutError

__all__ = ["Lattice", "check_key", "per_dimension"]

_MODULE_DICT = nn.ModuleDict()
"""Its attributes are names that no module in it can have."""


def check_key(text: object, field: str) -> None:
    """Refuse what cannot be the name of a node or of a module.

    Args:
        text: what a user passed.
        field: the setting that it was passed for, "name" or "share".

    Raises:
        LayoutError: if it is no string, is empty, has a dot in it, or is a word that torch's ModuleDict keeps.
    """
    if not isinstance(text, str) or not text or "." in text or hasattr(_MODULE_DICT, text):
        expected = f"a {field} that is not empty, has no dot and is no attribute of torch.nn.ModuleDict"
        raise LayoutError(expected, repr(text), field=field)


def per_dimension(value: int | Sequence[int], dim: int, field: str, minimum: int) -> tuple[int, ...]:
    """One integer for each lattice dimension: a single integer serves all dimensions.

    Args:
        value: what a user passed.
        dim: the number of dimensions.
        field: the setting that it was passed for, "kernel" say.
        minimum: the least integer that is allowed.

    Raises:
        LayoutError: if `value` is not an integer or `dim` of them, or if one is below `minimum`.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * dim
    if len(values) != dim or not all(is_integer(v) and v >= minimum for v in values):
        expected = f"the {field} to be an integer >= {minimum} or {dim} of them"
        raise LayoutError(expected, repr(value), field=field)
    return tuple(int(v) for v in values)


@dataclass(frozen=True)
class Lattice:
    """What lies on an edge of a layout: `channels` variables at each site of a rectangular lattice.

    Args:
        channels: variables at a site.
        shape: edge lengths, one for each of 1, 2 or 3 dimensions.
        periodic: for each dimension, whether the last site has the first as its neighbour.

    Raises:
        LayoutError: if these do not describe a lattice.
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
        if len(self.periodic) != self.dim or not all(type(periodic) is bool for periodic in self.periodic):
            raise LayoutError(
                f"for each of {self.dim} dimensions whether it is periodic", f"{self.periodic!r}", field="periodic"
            )

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
        """The number of variables."""
        return self.channels * self.sites

    def coarsen(self, stride: tuple[int, ...]) -> Lattice:
        """Each cell of `stride` sites becomes one site that holds all their channels."""
        shape = tuple(n // s for n, s in zip(self.shape, stride, strict=True))
        return replace(self, channels=self.channels * math.prod(stride), shape=shape)

    def with_channels(self, channels: int) -> Lattice:
        """The same sites with another number of channels."""
        return replace(self, channels=channels)

    def __str__(self) -> str:
        return f"{self.channels} x {' x '.join(map(str, self.shape))}"
