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

LATENT_HEIGHT = 0.6
"""The distance from a row of boxes to the latents that leave above it; the distance of two rows of boxes is 1."""
GAP = 0.15
"""The distance from a box to the border of the pixels that it covers."""
HEIGHT = 0.6
"""The height of a box."""
WIRE = "0.8"
MAX_INCHES = 11.0
"""The largest width of a picture, in inches."""


@dataclass(frozen=True)
class Row:
    """A row of a picture from the side: its visible sites and their positions, above the row that they come from."""

    label: str
    lattice: Lattice
    sites: range
    positions: list[float]
    height: float
    below: float


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
    spans: list[tuple[int, float, float]]


def rows(plan: Plan, d: int, view: View) -> list[Boxes | Variables]:
    """The rows of a plan in dimension `d`, from the data upwards."""
    levels = {latent.value: f"z{h}" for h, latent in enumerate(plan.latents)}
    sources = {0: (0.0, 1.0, 1.0, 0.0)}  # value -> its first position, the distance of sites, the room, its height

    def visible(lattice: Lattice, start: float, spacing: float) -> tuple[range, list[float]]:
        first, stop = (math.ceil((end - start) / spacing) for end in (view.start, view.stop))
        sites = range(max(first, 0), min(stop, lattice.shape[d]))
        return sites, [start + site * spacing for site in sites]

    data, height = visible(plan.input, 0.0, 1.0), 0.0
    drawn: list[Boxes | Variables] = [Variables("data", plan.input, *data, 0.0, 0.0, value=0, is_data=True)]
    if 0 in levels:
        drawn.append(Variables(levels[0], plan.input, *data, LATENT_HEIGHT, 0.0, value=0))
    for step in plan.steps:
        start, spacing, room, below = sources.pop(step.source)
        outputs = [(start, spacing, room)]
        if step.module:
            height += 1
            tiling = step.apply.cell_tiling
            sites, positions = visible(tiling.lattice, start, spacing)
            spans = list(_spans(tiling, d, spacing, view))
            drawn.append(Boxes(step.node, tiling.lattice, sites, positions, height, below, step, tiling, spans))
            below = height
        elif len(step.targets) > 1:  # the first output stays, the second moves by half the room to the next site
            outputs = [(start, spacing, room / 2), (start + room / 2, spacing, room / 2)]
        elif (cell := step.operation.cell[d]) > 1:
            outputs = [(start, spacing * cell, spacing * cell)]
        for value, lattice, (first, distance, space) in zip(step.targets, step.operation.outputs, outputs, strict=True):
            if value in levels:
                seen = visible(lattice, first, distance)
                drawn.append(Variables(levels[value], lattice, *seen, height + LATENT_HEIGHT, below, value=value))
            sources[value] = first, distance, space, below
        if len(step.targets) > 1 or not levels.keys().isdisjoint(step.targets):
            height += 1  # room for latents and their label below the next row
    return drawn


def _spans(tiling: Tiling, d: int, spacing: float, view: View) -> Iterator[tuple[int, float, float]]:
    """The boxes in dimension `d` that are at least partly visible: (position in the grid, first pixel, end).

    A box covers the pixels of its sites. A box that crosses a periodic border appears twice, at both ends.
    """
    counts = tiling.counts[d]
    offset, width, edge = (n * spacing for n in (tiling.offset[d], tiling.box[d], tiling.lattice.shape[d]))
    first, stop = math.floor((view.start - offset) / width), math.ceil((view.stop - offset) / width)
    last = range(counts)[-1:]  # the only box that can cross the border; empty without boxes
    for position in sorted({*range(max(first, 0), min(stop, counts)), *last}):
        for left in (offset + position * width - edge, offset + position * width):
            if left < view.stop and left + width > view.start:
                yield position, left, left + width


Colours = Callable[[Boxes | Variables, Sequence[int]], Sequence[str]]
"""Function from a row, and positions of its grid or sites of its lattice, to the colour of each box or variable."""


def draw_side(
    plan: Plan, d: int, view: View, colours: Colours, edge: str | None, legend: Sequence[Artist], title: str
) -> Picture:
    """Draw bijectors as boxes above the sites that they act on, data as dots, latents as crosses where they leave.

    Sites of a view of dimension `d` are drawn from left to right; boxes have borders of the colour `edge`, or none.
    """
    drawn = rows(plan, d, view)
    top = max(row.height for row in drawn)
    figure, (axes,) = panels(1, 1, min(2 + 0.28 * view.size, MAX_INCHES), 1.2 + 0.42 * top)
    for row in drawn:
        axes.vlines(row.positions, row.below, row.height, color=WIRE, lw=0.8, zorder=1)
        if isinstance(row, Boxes):
            _draw_boxes(axes, row, view, colours, edge)
        else:
            _draw_variables(axes, row, colours)
    _label_rows(axes, drawn)
    axes.set_xlim(view.start - 1, view.stop)
    axes.set_ylim(-0.6, top + 0.6)
    part = f", {view.part}" if view.part else ""
    axes.set_xlabel(f"site in dimension {d}{part}", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    add_legend(figure, legend, title)
    return figure


def _draw_boxes(axes: Axes, row: Boxes, view: View, colours: Colours, edge: str | None) -> None:
    faces = colours(row, [position for position, _, _ in row.spans])
    for (_, left, right), face in zip(row.spans, faces, strict=True):
        left, right = max(left, view.start) - 0.5 + GAP, min(right, view.stop) - 0.5 - GAP
        corner = left, row.height - HEIGHT / 2
        axes.add_patch(Rectangle(corner, right - left, HEIGHT, facecolor=face, edgecolor=edge, zorder=2))


def _draw_variables(axes: Axes, row: Variables, colours: Colours) -> None:
    positions: dict[str, list[float]] = {}
    for colour, position in zip(colours(row, row.sites), row.positions, strict=True):
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
