"""Boxes of sites on a lattice, in coordinates that go on beyond a periodic border."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera.graph.indexing import ravel
from mera.graph.lattice import Lattice

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Box:
    """A box of sites: for each dimension the first coordinate, and the one after the last.

    On a periodic lattice coordinates may be negative, or beyond the edge, and a box may be wider than the lattice.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Box:
        """The box of a pair (start, stop) for each dimension."""
        start, stop = zip(*spans, strict=True)
        return cls(start, stop)

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

    def take(self, values: Tensor) -> Tensor:
        """Select the values of the box, (..., *box.shape), from values on the whole lattice, (..., *shape)."""
        for axis, (start, stop) in enumerate(zip(self.start, self.stop, strict=True), start=-len(self.start)):
            n = values.shape[axis]
            if (start, stop) != (0, n):
                values = values.index_select(axis, torch.arange(start, stop, device=values.device) % n)
        return values

    def sites(self, lattice: Lattice) -> Tensor:
        """The flat indices of the sites of the box in the lattice, (*box.shape)."""
        edges = zip(self.start, self.stop, lattice.shape, strict=True)
        axes = [torch.arange(start, stop) % n for start, stop, n in edges]
        return ravel(torch.meshgrid(*axes, indexing="ij"), lattice.shape)

    def within(self, outer: Box) -> Slices:
        """The slices of the box in an array of the sites of a box around it."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))

    def crop(self, values: Tensor, outer: Box) -> Tensor:
        """Cut the values of the box, (..., *box.shape), out of those of a box around it."""
        return values[(..., *self.within(outer))]  # type: ignore[index]


def tiles(lattice: Lattice, edges: Sequence[int]) -> list[Box]:
    """Boxes with these edges that cover a lattice side by side, row by row; the last ones of a row may be smaller."""
    ranges = [range(0, n, edge) for n, edge in zip(lattice.shape, edges, strict=True)]
    return [
        Box(start, tuple(min(a + e, n) for a, e, n in zip(start, edges, lattice.shape, strict=True)))
        for start in itertools.product(*ranges)
    ]


def hull(coordinates: Sequence[Sequence[int]], lattice: Lattice) -> Box:
    """The smallest box, across periodic borders, of sites whose coordinates are listed for each dimension."""
    spans = []
    for values, n, wraps in zip(coordinates, lattice.shape, lattice.periodic, strict=True):
        places = sorted(set(values))
        if wraps:  # begin behind the largest gap
            _, first = max((b - a, i) for i, (a, b) in enumerate(itertools.pairwise([places[-1] - n, *places])))
            places = [*places[first:], *(p + n for p in places[:first])]
        spans.append((places[0], places[-1] + 1))
    return Box.of(spans)
