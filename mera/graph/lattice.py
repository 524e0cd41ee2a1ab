"""Lattices, and the one error of geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from mera._utils.checks import is_integer

__all__ = ["Lattice", "LayoutError", "check_key", "per_dimension"]


_TAKEN = nn.ModuleDict()


class LayoutError(ValueError):
    """A layout that cannot be a bijection; the message names the node, what was expected, what was given.

    Attributes:
        field: the setting of the node that is wrong, if it is one.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def of(self, name: object) -> LayoutError:
        """The same error with the name of the node."""
        return LayoutError(f"node {name!r}: {self}", self.field)


def check_key(text: object, what: str) -> None:
    """Refuse what cannot be the name of a node or of a module.

    Raises:
        LayoutError: if it is no string, is empty, has a dot in it, or is a word that torch's ModuleDict keeps.
    """
    if not isinstance(text, str) or not text or "." in text or hasattr(_TAKEN, text):
        message = (
            f"Expected {what} that is not empty, has no dot and is no attribute of torch.nn.ModuleDict; got {text!r}"
        )
        raise LayoutError(message, what.removeprefix("a "))


def per_dimension(value: int | Sequence[int], dim: int, what: str, minimum: int) -> tuple[int, ...]:
    """One integer for each lattice dimension: a single integer serves them all.

    Raises:
        LayoutError: if `value` is not an integer or `dim` of them, or if one is below `minimum`.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * dim
    if len(values) != dim or not all(is_integer(v) and v >= minimum for v in values):
        message = f"Expected {what} to be an integer >= {minimum} or {dim} of them; got {value!r}"
        raise LayoutError(message, what.removeprefix("the "))
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
            raise LayoutError(f"Expected a positive number of channels; got {self.channels!r}")
        if not isinstance(self.shape, tuple) or len(self.shape) not in (1, 2, 3):
            raise LayoutError(f"Expected a lattice shape of 1 to 3 edge lengths; got {self.shape!r}")
        if not all(is_integer(n) and n > 0 for n in self.shape):
            raise LayoutError(f"Expected positive edge lengths; got {self.shape!r}")
        if len(self.periodic) != self.dim or not all(type(periodic) is bool for periodic in self.periodic):
            raise LayoutError(
                f"Expected for each of {self.dim} dimensions whether it is periodic; got {self.periodic!r}"
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
