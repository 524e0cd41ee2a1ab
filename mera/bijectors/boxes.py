"""Boxes of sites on a lattice, in coordinates that go on beyond a periodic border."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mera.graph.lattice import Lattice

Slices = tuple[slice, ...]
MAX_CACHED = 16
"""The number of boxes for which `PerBox` keeps tensors."""


@dataclass(frozen=True)
class Box:
    """A box of sites: for each dimension the first coordinate, and the one after the last.

    On a periodic lattice coordinates may be negative, or beyond the edge, and a box may be wider than the lattice.

    A local bijector on a box knows the lattice around it. Where the lattice continues beyond an end of the box, values
    near the end depend on sites outside of the box, and are cut off; see `shrunk`.

    Args:
        start: the first coordinate in each dimension.
        stop: the coordinate after the last.
        lattice: the edges of the lattice; empty if no bijector is evaluated on the box.
        interior: for each dimension, whether the lattice continues before the first and after the last site of the box.
            A box as wide as a periodic lattice has no interior ends in that dimension.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    lattice: tuple[int, ...] = ()
    interior: tuple[tuple[bool, bool], ...] = ()

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Box:
        """The box of a pair (start, stop) for each dimension."""
        start, stop = zip(*spans, strict=True)
        return cls(start, stop)

    @classmethod
    def whole(cls, edges: Sequence[int]) -> Box:
        """All sites of a lattice with these edges."""
        return cls((0,) * len(edges), tuple(edges), tuple(edges), ((False, False),) * len(edges))

    def on(self, lattice: Lattice) -> Box:
        """The box with the lattice around it, on which a local bijector can be evaluated."""
        edges = zip(self.start, self.stop, lattice.shape, lattice.periodic, strict=True)
        # an end at an open border, or all around a periodic edge, is not interior
        interior = tuple((b - a != n,) * 2 if wraps else (a > 0, b < n) for a, b, n, wraps in edges)
        return replace(self, lattice=lattice.shape, interior=interior)

    @property
    def shape(self) -> tuple[int, ...]:
        """The edge lengths."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    def refined(self, stride: Sequence[int]) -> Box:
        """The sites of a finer lattice whose cells are the sites of the box."""
        start, stop = ([a * s for a, s in zip(ends, stride, strict=True)] for ends in (self.start, self.stop))
        return Box(tuple(start), tuple(stop))

    def grown(self, sites: Sequence[int], lattice: Lattice) -> Box:
        """The box with so many more sites on each side in each dimension, up to open borders."""
        sizes = zip(self.start, self.stop, sites, lattice.shape, lattice.periodic, strict=True)
        return Box.of((a - r, b + r) if wraps else (max(a - r, 0), min(b + r, n)) for a, b, r, n, wraps in sizes)

    def shrunk(self, radius: Sequence[int]) -> Box:
        """The box without the first or last `radius` sites of each dimension, where the end is interior."""
        if not any(map(any, self.interior)):
            return self
        ends = zip(self.start, self.stop, radius, self.interior, strict=True)
        spans = [(a + r * low, b - r * high) for a, b, r, (low, high) in ends]
        return replace(Box.of(spans), lattice=self.lattice, interior=self.interior)

    def shrink(self, values: Tensor, radius: Sequence[int]) -> Tensor:
        """The values of `shrunk`, from values (..., *shape) of the box."""
        return self.shrunk(radius).crop(values, self)

    def take(self, values: Tensor) -> Tensor:
        """Select the values of the box, (..., *box.shape), from values on the whole lattice, (..., *shape)."""
        for axis, (start, stop) in enumerate(zip(self.start, self.stop, strict=True), start=-len(self.start)):
            n = values.shape[axis]
            if (start, stop) != (0, n):
                values = values.index_select(axis, torch.arange(start, stop, device=values.device) % n)
        return values

    def sites(self, lattice: Lattice) -> Tensor:
        """The flat indices of the sites of the box in the lattice, (*box.shape)."""
        index = torch.zeros((), dtype=torch.int64)
        for start, stop, n in zip(self.start, self.stop, lattice.shape, strict=True):
            index = index[..., None] * n + torch.arange(start, stop) % n
        return index

    def grids(self, channels: int) -> list[Tensor]:
        """The channels and the coordinates of the sites in the lattice, as open grids (C, 1, ...), (1, n, ...), ..."""
        edges = zip(self.start, self.stop, self.lattice, strict=True)
        axes = [torch.arange(channels, device="cpu"), *(torch.arange(a, b, device="cpu") % n for a, b, n in edges)]
        return [axis.view([-1 if d == place else 1 for d in range(len(axes))]) for place, axis in enumerate(axes)]

    def slices_in(self, outer: Box) -> Slices:
        """The slices of the box in an array of the sites of a box around it."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))

    def crop(self, values: Tensor, outer: Box) -> Tensor:
        """Cut the values of the box, (..., *box.shape), out of those of a box around it."""
        return values[(..., *self.slices_in(outer))]  # type: ignore[index]


class PerBox:
    """A cache of tensors that depend on sites alone, for the last 16 boxes and devices.

    Args:
        compute: makes a tensor, or a tuple of tensors, on the CPU from a box.
    """

    def __init__(self, compute: Callable[[Box], Any]) -> None:
        self.compute = compute
        self.cached: dict[Any, Any] = {}

    def __call__(self, values: Tensor, sites: Box | None) -> Any:
        """The tensors of a box, or of all sites of values (B, C, *sites), on the device of the values."""
        key = values.shape[2:] if sites is None else sites, values.device
        tensors = self.cached.get(key)
        if tensors is None and torch.compiler.is_compiling():
            return self._computed(*key)
        if tensors is None:
            with torch.inference_mode(False):
                tensors = self._computed(*key)
            self.cached = {key: tensors, **dict([*self.cached.items()][: MAX_CACHED - 1])}  # threads may do so, too
        return tensors

    def _computed(self, sites: Box | Sequence[int], device: torch.device) -> Any:
        """Compute the tensors, and move them to a device."""
        made = self.compute(sites if isinstance(sites, Box) else Box.whole(sites))
        return tuple(t.to(device) for t in made) if isinstance(made, tuple) else made.to(device)


def tiles(lattice: Lattice, edges: Sequence[int]) -> list[Box]:
    """Boxes with these edges that cover a lattice side by side, row by row; the last ones of a row may be smaller."""
    ranges = [range(0, n, edge) for n, edge in zip(lattice.shape, edges, strict=True)]
    return [
        Box(start, tuple(min(a + e, n) for a, e, n in zip(start, edges, lattice.shape, strict=True)))
        for start in itertools.product(*ranges)
    ]


def ravel(coordinates: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """The flat indices of coordinates, a tensor for each dimension: the inverse of `torch.unravel_index`."""
    index = coordinates[0]
    for coordinate, n in zip(coordinates[1:], shape[1:], strict=True):
        index = index * n + coordinate
    return index


def hull(coordinates: Sequence[Sequence[int]], lattice: Lattice) -> Box:
    """The smallest box, across periodic borders, of sites whose coordinates are listed for each dimension."""
    spans = []
    for values, n, wraps in zip(coordinates, lattice.shape, lattice.periodic, strict=True):
        places = sorted(set(values))
        if wraps:  # begin after the largest gap
            _, first = max((b - a, i) for i, (a, b) in enumerate(itertools.pairwise([places[-1] - n, *places])))
            places = [*places[first:], *(p + n for p in places[:first])]
        spans.append((places[0], places[-1] + 1))
    return Box.of(spans)
