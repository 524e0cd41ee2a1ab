"""View of a plan from the side (paper, Fig. 2a, c, d): rows of bijectors and of levels of latents.

From the side, a bijector is a row of boxes, one for each position of its grid, and data and latents are rows of
variables. Positions are in units of sites of the data, so a box of a coarse lattice is as wide as the pixels below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mera.analysis.drawing.figures import DATA_MARKER, LATENT_MARKER, Picture, View, add_legend, panels
from mera.graph import Lattice, Plan, Step
from mera.graph.indexing import Tiling

ABOVE = 0.6
"""The distance from a row of boxes to the latents that leave above it; the distance of two rows of boxes is 1."""
GAP = 0.15
"""The distance from a box to the border of the pixels that it covers."""
HEIGHT = 0.6
"""The height of a box."""
WIRE = "0.8"
MAX_INCHES = 11.0
"""The largest width of a picture, in inches."""


@dataclass(frozen=True)
class Place:
    """Positions of the sites of a lattice along one dimension of the data, from `start` with a `spacing`.

    The `room` is the distance from a site to the next position of variables of any lattice; a cut halves it.
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
    """A row of a picture from the side: the positions of its sites in each dimension, above the row it comes from."""

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
        """The boxes in dimension `d` that are at least partly visible: (position in the grid, first pixel, end).

        A box covers the pixels of its sites. A box that crosses a periodic border appears twice, at both ends.
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


Colours = Callable[[Boxes | Variables, Sequence[int]], Sequence[str]]
"""Function from a row, and positions of its grid or sites of its lattice, to the colour of each box or variable."""


def draw_side(
    plan: Plan, d: int, view: View, colours: Colours, edge: str | None, legend: Sequence[Artist], title: str
) -> Picture:
    """Draw bijectors as boxes above the sites that they act on, data as dots, latents as crosses where they leave.

    Sites of a view of dimension `d` are drawn from left to right; boxes have borders of the colour `edge`, or none.
    """
    drawn = rows(plan)
    top = max(row.height for row in drawn)
    figure, (axes,) = panels(1, 1, min(2 + 0.28 * view.size, MAX_INCHES), 1.2 + 0.42 * top)
    for row in drawn:
        axes.vlines(row.positions(d, view), row.below, row.height, color=WIRE, lw=0.8, zorder=1)
        if isinstance(row, Boxes):
            _draw_boxes(axes, row, d, view, colours, edge)
        else:
            _draw_variables(axes, row, d, view, colours)
    _label_rows(axes, drawn)
    axes.set_xlim(view.start - 1, view.stop)
    axes.set_ylim(-0.6, top + 0.6)
    part = f", {view.part}" if view.part else ""
    axes.set_xlabel(f"site in dimension {d}{part}", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    add_legend(figure, legend, title)
    return figure


def _draw_boxes(axes: Axes, row: Boxes, d: int, view: View, colours: Colours, edge: str | None) -> None:
    spans = list(row.spans(d, view))
    faces = colours(row, [position for position, _, _ in spans])
    for (_, left, right), face in zip(spans, faces, strict=True):
        left, right = max(left, view.start) - 0.5 + GAP, min(right, view.stop) - 0.5 - GAP
        corner = left, row.height - HEIGHT / 2
        axes.add_patch(Rectangle(corner, right - left, HEIGHT, facecolor=face, edgecolor=edge, zorder=2))


def _draw_variables(axes: Axes, row: Variables, d: int, view: View, colours: Colours) -> None:
    positions: dict[str, list[float]] = {}
    for colour, position in zip(colours(row, row.sites(d, view)), row.positions(d, view), strict=True):
        positions.setdefault(colour, []).append(position)
    marker = DATA_MARKER if row.is_data else LATENT_MARKER
    for colour, x in positions.items():
        axes.plot(x, [row.height] * len(x), marker, color=colour, ms=3, mew=1, zorder=3)


def _label_rows(axes: Axes, drawn: Iterable[Row]) -> None:
    """Write the labels of rows at the left; levels of latents at the same height share a label."""
    labels: dict[float, list[str]] = {}
    for row in drawn:
        labels.setdefault(row.height, []).append(row.label)
    axes.set_yticks(list(labels), [", ".join(names) for names in labels.values()], fontsize=8)
    axes.tick_params(axis="y", length=0)
