"""The sites of a lattice on which a local bijector is evaluated: the whole lattice, or a box of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sites:
    """A box of sites of a lattice.

    A local bijector cannot compute values near an end of the box beyond which the lattice goes on, as it would have to
    read sites outside of the box. It returns the values of the box without these sites, see `shrunk`.

    Args:
        start: for each dimension the coordinate of the first site, which may lie beyond a periodic border.
        shape: the edges of the box.
        lattice: the edges of the lattice.
        interior: for each dimension, whether the lattice goes on before the first and behind the last site of the box.
            A box as wide as a periodic lattice has no interior ends in that dimension.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    lattice: tuple[int, ...]
    interior: tuple[tuple[bool, bool], ...]

    @classmethod
    def whole(cls, lattice: Sequence[int]) -> Sites:
        """All sites of a lattice."""
        edges = tuple(lattice)
        return cls((0,) * len(edges), edges, edges, ((False, False),) * len(edges))

    @cached_property
    def interior_ends(self) -> tuple[bool, ...]:
        """`interior` in the order of `torch.nn.functional.pad`, last dimension first; empty if no end is interior."""
        ends = tuple(end for pair in reversed(self.interior) for end in pair)
        return ends if any(ends) else ()

    def shrunk(self, radius: Sequence[int]) -> Sites:
        """The box without the first or last `radius` sites of each dimension, where the end is interior."""
        if not self.interior_ends:
            return self
        rows = [(r * low, r * high) for r, (low, high) in zip(radius, self.interior, strict=True)]
        start = tuple(a + low for a, (low, _) in zip(self.start, rows, strict=True))
        return replace(self, start=start, shape=tuple(n - sum(row) for n, row in zip(self.shape, rows, strict=True)))

    def shrink(self, values: Tensor, radius: Sequence[int]) -> Tensor:
        """The values of `shrunk`, from values (..., *shape) of the box."""
        if not self.interior_ends:
            return values
        for axis, (r, (low, high)) in enumerate(zip(radius, self.interior, strict=True), start=-len(self.shape)):
            values = values.narrow(axis, r * low, values.shape[axis] - r * (low + high))
        return values

    def grids(self, channels: int) -> list[Tensor]:
        """The channels and the coordinates of the sites in the lattice, as open grids (C, 1, ...), (1, n, ...), ..."""
        ranges = [range(channels), *(range(a, a + n) for a, n in zip(self.start, self.shape, strict=True))]
        axes = [torch.arange(axis.start, axis.stop, device="cpu") for axis in ranges]
        axes[1:] = [axis % n for axis, n in zip(axes[1:], self.lattice, strict=True)]
        return [axis.view([-1 if d == place else 1 for d in range(len(axes))]) for place, axis in enumerate(axes)]
