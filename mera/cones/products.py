"""Cones of rectangles as products of coordinates along each axis, so that no site inside is visited.

A rectangle stays a product of sets of coordinates, one for each axis, through patches that cover the lattice and
through the regrouping of whole cells. Where it does not, `cone_of_product` returns None, and the cone is computed from
all its sites.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import torch
from torch import Tensor

from mera.cones.indexing import cell_tiling, check_indexable, event_tiling, ravel
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply, Cut, Regroup
from mera.graph.plan import Plan

Axes = tuple[Tensor, ...]
"""For each axis the sorted coordinates of a product of sets."""


class Products(Mapping[int, Tensor]):
    """From the numbers of values to the flat indices of their variables in a cone, computed when they are asked for.

    Args:
        axes: for the number of each value its lattice, and the coordinates along each axis.
    """

    def __init__(self, axes: Mapping[int, tuple[Lattice, Axes]]) -> None:
        self._axes = dict(axes)
        self._indices: dict[int, Tensor] = {}

    def __getitem__(self, value: int) -> Tensor:
        if value not in self._indices:
            lattice, axes = self._axes[value]
            sites = ravel(torch.meshgrid(*axes, indexing="ij"), lattice.shape).flatten()
            self._indices[value] = (sites[:, None] * lattice.channels + torch.arange(lattice.channels)).flatten()
        return self._indices[value]

    def __iter__(self) -> Iterator[int]:
        return iter(self._axes)

    def __len__(self) -> int:
        return len(self._axes)

    def sites(self, value: int) -> int:
        """The number of sites of a value in the cone."""
        return math.prod(map(len, self._axes[value][1]))

    def count(self, value: int) -> int:
        """The number of variables of a value in the cone."""
        return self._axes[value][0].channels * self.sites(value)

    def events(self, value: int, operation: Apply) -> int:
        """The number of events of a bijector that contain variables of a value in the cone."""
        tiling = event_tiling(operation)
        dimensions = zip(self._axes[value][1], tiling.offset, tiling.lattice.shape, tiling.box, strict=True)
        return math.prod(len(((c - offset) % n // box).unique()) for c, offset, n, box in dimensions)


def cone_of_product(plan: Plan, axes: Sequence[Tensor]) -> Products | None:
    """The cone of all variables of the data at the sites of a rectangle; None if it is not a product on some lattice.

    Args:
        plan: the plan.
        axes: for each axis of the data the sorted coordinates of the rectangle.
    """
    check_indexable(plan.input)
    reached: dict[int, tuple[Lattice, Axes]] = {0: (plan.input, tuple(axes))}
    for step in plan.steps:
        source, operation = reached[step.source][1], step.operation
        after: Axes | None
        match operation:
            case Apply():
                after = _spread(operation, source)
            case Cut():
                after = source
            case Regroup():
                after = _coarsened(source, operation.stride)
            case _:
                assert_never(operation)
        if after is None:
            return None
        reached |= {target: (lattice, after) for target, lattice in zip(step.targets, operation.outputs, strict=True)}
    return Products(reached)


def _spread(operation: Apply, axes: Axes) -> Axes | None:
    """The coordinates of outputs that depend on inputs at a product of coordinates; see `indexing.spread`."""
    grid, shape = cell_tiling(operation), operation.lattice.shape
    if operation.passive or any(count * box != n for count, box, n in zip(grid.counts, grid.box, shape, strict=True)):
        return None
    spread = []
    for d, (coordinates, n) in enumerate(zip(axes, shape, strict=True)):
        box, count, periodic = grid.box[d], grid.counts[d], operation.lattice.periodic[d]
        radius, offset = (operation.kernel[d] - operation.stride[d]) // 2, grid.offset[d]
        if len(coordinates) == n:
            spread.append(coordinates)
            continue
        shifted = (coordinates - offset) % n if periodic else coordinates - offset
        low, high = (shifted - radius) // box, (shifted + radius) // box
        boxes = low[:, None] + torch.arange(int((high - low).max()) + 1)
        boxes = boxes[boxes <= high[:, None]]
        boxes = (boxes % count if periodic else boxes.clamp(0, count - 1)).unique()
        spread.append(((boxes[:, None] * box + torch.arange(box) + offset) % n).flatten().sort().values)
    return tuple(spread)


def _coarsened(axes: Axes, stride: Sequence[int]) -> Axes | None:
    """The coordinates of cells that are whole in a product of coordinates; None if a cell is not whole."""
    coarse = []
    for coordinates, s in zip(axes, stride, strict=True):
        if len(coordinates) % s:
            return None
        cells = coordinates.view(-1, s)
        if (cells[:, 0] % s).any() or (cells[:, -1] - cells[:, 0] != s - 1).any():
            return None
        coarse.append(cells[:, 0] // s)
    return tuple(coarse)
