"""Rows of a picture of a plan: the positions at which bijectors and levels of latents are drawn.

From the side, a bijector is a row of boxes, one for each position of its grid, and data and latents are rows of
variables. Positions are in units of sites of the data, so a box of a coarse lattice is as wide as the pixels below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mera.analysis.drawing.figures import View
from mera.graph import Lattice, Plan, Step
from mera.graph.indexing import Tiling

ABOVE = 0.6
"""The distance from a row of boxes to the latents that leave above it; the distance of two rows of boxes is 1."""


@dataclass(frozen=True)
class Place:
    """Positions of the sites of a lattice along one dimension of the data.

    Args:
        start: the position of the first site.
        spacing: the distance between neighbouring sites.
        room: the distance from a site to the next position of variables of any lattice; a cut halves it.
    """

    start: float = 0.0
    spacing: float = 1.0
    room: float = 1.0

    def regrouped(self, stride: int) -> Place:
        """The positions after each group of `stride` sites has become one site."""
        spacing = self.spacing * stride
        return Place(self.start, spacing, spacing if stride > 1 else self.room)

    def cut(self) -> tuple[Place, Place]:
        """The positions of the two outputs of a cut: the first output stays, the second moves by half the room."""
        room = self.room / 2
        return Place(self.start, self.spacing, room), Place(self.start + room, self.spacing, room)

    def sites(self, edge: int, view: View) -> range:
        """The visible sites of an edge of the lattice."""
        first, stop = (math.ceil((end - self.start) / self.spacing) for end in (view.start, view.stop))
        return range(max(first, 0), min(stop, edge))


@dataclass(frozen=True)
class Row:
    """A row of a picture from the side.

    Args:
        label: the text beside the row.
        lattice: the lattice of the row's variables.
        places: the positions of the sites, for each dimension.
        height: the height at which the row is drawn.
        below: the height of the row from which the variables come.
    """

    label: str
    lattice: Lattice
    places: tuple[Place, ...]
    height: float
    below: float

    def sites(self, d: int, view: View) -> range:
        """The visible sites of the row in dimension `d`."""
        return self.places[d].sites(self.lattice.shape[d], view)

    def positions(self, d: int, view: View) -> list[float]:
        """The positions of `sites(d, view)`, in units of sites of the data."""
        place = self.places[d]
        return [place.start + site * place.spacing for site in self.sites(d, view)]


@dataclass(frozen=True)
class Variables(Row):
    """The row of the data, or of the latents of one level; `value` is the number of the value in the plan."""

    value: int
    is_data: bool = False


@dataclass(frozen=True)
class Boxes(Row):
    """The row of the bijector that `step` applies; `tiling` has a box for each position of the bijector's grid."""

    step: Step
    tiling: Tiling

    def spans(self, d: int, view: View) -> Iterator[tuple[int, float, float]]:
        """The boxes in dimension `d` that are at least partly visible.

        A box covers the pixels of its sites. A box that crosses a periodic border appears twice, at both ends.

        Yields:
            For each box, its position in the grid, its first pixel, and the pixel after its last one.
        """
        spacing, counts = self.places[d].spacing, self.tiling.counts[d]
        offset, width, edge = (n * spacing for n in (self.tiling.offset[d], self.tiling.box[d], self.lattice.shape[d]))
        first, stop = math.floor((view.start - offset) / width), math.ceil((view.stop - offset) / width)
        last = range(counts)[-1:]  # the only box that can cross the border; empty if there are no boxes
        for position in sorted({*range(max(first, 0), min(stop, counts)), *last}):
            for left in (offset + position * width - edge, offset + position * width):
                if left < view.stop and left + width > view.start:
                    yield position, left, left + width


def rows(plan: Plan) -> list[Boxes | Variables]:
    """The rows of a plan, from the data upwards."""
    levels = {latent.value: f"z{h}" for h, latent in enumerate(plan.latents)}
    start, height = (Place(),) * plan.input.dim, 0.0
    open_values = {0: (start, 0.0)}  # value -> its places, the height at which it was made
    drawn: list[Boxes | Variables] = [Variables("data", plan.input, start, 0.0, 0.0, value=0, is_data=True)]
    if 0 in levels:
        drawn.append(Variables(levels[0], plan.input, start, ABOVE, 0.0, value=0))
    for step in plan.steps:
        places, below = open_values.pop(step.source)
        outputs = [places]
        if step.module:
            height += 1
            tiling = step.apply.cell_tiling
            drawn.append(Boxes(step.node, tiling.lattice, places, height, below, step=step, tiling=tiling))
            below = height
        elif len(step.targets) > 1:
            outputs = list(zip(*(place.cut() for place in places), strict=True))
        else:
            outputs = [tuple(place.regrouped(s) for place, s in zip(places, step.operation.cell, strict=True))]
        for value, lattice, target_places in zip(step.targets, step.operation.outputs, outputs, strict=True):
            if value in levels:
                label, top = levels[value], height + ABOVE
                drawn.append(Variables(label, lattice, target_places, top, below, value=value))
            open_values[value] = target_places, below
        if len(step.targets) > 1 or not levels.keys().isdisjoint(step.targets):
            height += 1  # room for latents and their label below the next row
    return drawn
