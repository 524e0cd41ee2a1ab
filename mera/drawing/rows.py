"""The rows that a picture of a plan consists of: where each bijector and each level of latents is drawn.

From the side, a bijector is a row of boxes, one for each position of its grid, and data and latents are rows of
variables. Positions are measured in sites of the data, so that a box of a coarse lattice is as wide as the pixels that
it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from typing_extensions import assert_never

from mera.cones.indexing import Tiling, cell_tiling
from mera.drawing.figures import View
from mera.graph import Apply, Cut, Lattice, Plan, Regroup, Step

ABOVE = 0.6
"""The distance from a row of boxes to the latents that leave above it; two rows of boxes are 1 apart."""


@dataclass(frozen=True)
class Place:
    """Where the sites of a lattice lie along one dimension of the data.

    Args:
        start: the position of the first site.
        spacing: the distance between neighbouring sites.
        room: the distance from a site to the next place where variables are drawn; a cut halves it.
    """

    start: float = 0.0
    spacing: float = 1.0
    room: float = 1.0

    def regrouped(self, stride: int) -> Place:
        """Where the sites lie after each `stride` of them have become one."""
        spacing = self.spacing * stride
        return Place(self.start, spacing, spacing if stride > 1 else self.room)

    def cut(self) -> tuple[Place, Place]:
        """Where the two outputs of a cut lie: the first stays, the second goes halfway to what is drawn next."""
        return (
            Place(self.start, self.spacing, self.room / 2),
            Place(self.start + self.room / 2, self.spacing, self.room / 2),
        )

    def sites(self, edge: int, view: View) -> range:
        """The sites of an edge of the lattice that lie in the part of the data that is shown."""
        first, stop = (math.ceil((end - self.start) / self.spacing) for end in (view.start, view.stop))
        return range(max(first, 0), min(stop, edge))


@dataclass(frozen=True)
class Row:
    """A row of a picture from the side.

    Args:
        label: what stands beside the row.
        lattice: the lattice whose variables the row shows.
        places: where the sites of the lattice lie, for each dimension.
        height: the height at which the row is drawn.
        below: the height of the row from which its variables come.
        panel: the number of the panel that shows the row in a picture from above; a cut begins a new one for each of
            its outputs.
    """

    label: str
    lattice: Lattice
    places: tuple[Place, ...]
    height: float
    below: float
    panel: int

    def sites(self, d: int, view: View) -> range:
        """The sites of the row in dimension `d` that are shown."""
        return self.places[d].sites(self.lattice.shape[d], view)

    def positions(self, d: int, view: View) -> list[float]:
        """The positions in the data of `sites(d, view)`."""
        place = self.places[d]
        return [place.start + site * place.spacing for site in self.sites(d, view)]


@dataclass(frozen=True)
class Variables(Row):
    """The row of the data, or of the latents of one level.

    Args:
        value: the number of the value in the plan.
        is_data: whether the variables are the data.
    """

    value: int
    is_data: bool = False


@dataclass(frozen=True)
class Boxes(Row):
    """The row of a bijector.

    Args:
        step: the step of the plan that applies the bijector.
        tiling: the boxes on the lattice, one for each position of the bijector's grid.
    """

    step: Step
    tiling: Tiling

    def spans(self, d: int, view: View) -> Iterator[tuple[int, float, float]]:
        """The boxes in dimension `d` of which some part is shown.

        A box covers the pixels that its sites stand for. One that crosses a periodic border comes twice, once at either
        end of the edge.

        Returns:
            For each box its position in the grid, the position of its first pixel, and that after its last pixel.
        """
        spacing, counts = self.places[d].spacing, self.tiling.counts[d]
        offset, width, edge = (n * spacing for n in (self.tiling.offset[d], self.tiling.box[d], self.lattice.shape[d]))
        first, stop = math.floor((view.start - offset) / width), math.ceil((view.stop - offset) / width)
        last = range(counts)[-1:]  # the only one that can cross the border; there may be none at all
        for position in sorted({*range(max(first, 0), min(stop, counts)), *last}):
            for left in (offset + position * width - edge, offset + position * width):
                if left < view.stop and left + width > view.start:
                    yield position, left, left + width


def rows(plan: Plan) -> list[Boxes | Variables]:
    """The rows of a plan, from the data upwards."""
    levels = {latent.value: f"z{h}" for h, latent in enumerate(plan.latents)}
    start, panels, height = (Place(),) * plan.input.dim, count(1), 0.0
    open_values = {0: (start, 0.0, 0)}  # value -> where it lies, the height at which it was made, its panel
    found: list[Boxes | Variables] = [Variables("data", plan.input, start, 0.0, 0.0, 0, value=0, is_data=True)]
    if 0 in levels:
        found.append(Variables(levels[0], plan.input, start, ABOVE, 0.0, 0, value=0))
    for step in plan.steps:
        places, below, panel = open_values.pop(step.source)
        outputs = [places]
        match step.operation:
            case Apply():
                height += 1
                tiling = cell_tiling(step.operation)
                found.append(Boxes(step.node, tiling.lattice, places, height, below, panel, step=step, tiling=tiling))
                below = height
            case Regroup():
                outputs = [tuple(place.regrouped(s) for place, s in zip(places, step.operation.stride, strict=True))]
            case Cut():
                outputs = list(zip(*(place.cut() for place in places), strict=True))
            case _:
                assert_never(step.operation)
        for value, lattice, there in zip(step.targets, step.operation.outputs, outputs, strict=True):
            if value in levels:
                found.append(Variables(levels[value], lattice, there, height + ABOVE, below, panel, value=value))
            open_values[value] = there, below, next(panels) if isinstance(step.operation, Cut) else panel
        if isinstance(step.operation, Cut) or not levels.keys().isdisjoint(step.targets):
            height += 1  # room for latents and their label below the next row
    return found
