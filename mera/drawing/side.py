"""The side view of a plan: what is drawn at which height and above which sites, and the shapes that are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mera.cones.indexing import Tiling, cell_tiling
from mera.graph import Apply, Cut, Lattice, Plan, Regroup, Step

__all__ = ["Boxes", "Marks", "Place", "draw_boxes", "draw_marks", "label_heights", "rows", "sites_in"]

GAP = 0.15
"""Sites between a box and the border of what it stands for."""
LATENTS = 0.6
"""How far above the last row latents are drawn."""


@dataclass(frozen=True)
class Place:
    """Where a value's first site is in the data, and how many sites of the data lie between two of its own."""

    start: float
    spacing: float


@dataclass(frozen=True)
class Boxes:
    """The row of a bijector: a box for each position of its grid."""

    step: Step
    grid: Tiling
    place: Place
    height: float
    below: float
    """The height from which its variables come."""
    lattice_number: int
    """Of the lattice that it is drawn on from above: a new one behind each cut, for each of its outputs."""


@dataclass(frozen=True)
class Marks:
    """A row of variables, the data or the latents of a level."""

    value: int
    lattice: Lattice
    place: Place
    height: float
    below: float
    lattice_number: int
    label: str


def rows(plan: Plan, d: int) -> Iterator[Boxes | Marks]:
    """All rows from the data on, along dimension d."""
    places = {0: Place(0.0, 1.0)}
    below = {0: 0.0}  # for each value, the height at which it was made
    leaving = {latent.value: h for h, latent in enumerate(plan.latents)}
    height, numbers, lattice_of = 0.0, count(1), {0: 0}
    yield Marks(0, plan.input, places[0], 0.0, 0.0, 0, "data")
    if 0 in leaving:
        yield Marks(0, plan.input, places[0], LATENTS, 0.0, 0, f"z{leaving[0]}")
    for step in plan.steps:
        place, since, number = places.pop(step.source), below.pop(step.source), lattice_of.pop(step.source)
        match step.action:
            case Apply():
                height += 1
                yield Boxes(step, cell_tiling(step.action), place, height, since, number)
                places[step.targets[0]], since = place, height
            case Regroup():
                places[step.targets[0]] = Place(place.start, place.spacing * step.action.stride[d])
            case Cut():  # what is sent out is drawn between what goes on
                kept, rest = step.targets
                places |= {kept: place, rest: Place(place.start + place.spacing / 2, place.spacing)}
        for target, lattice in zip(step.targets, step.action.outputs, strict=True):
            below[target] = since
            lattice_of[target] = next(numbers) if isinstance(step.action, Cut) else number
            if target in leaving:
                yield Marks(target, lattice, places[target], height + LATENTS, since, number, f"z{leaving[target]}")
        height += isinstance(step.action, Cut)


def label_heights(axes: Axes, drawn: Iterable[Boxes | Marks]) -> None:
    """What is at each height, at the left; latents that leave from one node are at one."""
    labels: dict[float, list[str]] = {}
    for row in drawn:
        labels.setdefault(row.height, []).append(row.step.node if isinstance(row, Boxes) else row.label)
    axes.set_yticks(list(labels), [", ".join(names) for names in labels.values()], fontsize=8)


def sites_in(lattice: Lattice, d: int, place: Place, shown: tuple[int, int]) -> range:
    """The sites of an edge that lie within what is shown of the data."""
    first = max(math.ceil((shown[0] - place.start) / place.spacing), 0)
    return range(first, min(math.ceil((shown[1] - place.start) / place.spacing), lattice.shape[d]))


def draw_boxes(
    axes: Axes, boxes: Boxes, d: int, shown: tuple[int, int], faces: Sequence[str], edge: str | None = None
) -> None:
    """A box over the sites of each position, in the colours `faces`."""
    grid, start, spacing = boxes.grid, boxes.place.start, boxes.place.spacing
    width, length = grid.box[d] * spacing, grid.lattice.shape[d] * spacing
    first = max(math.floor((shown[0] - start) / (spacing * grid.box[d])) - 1, 0)
    last = min(math.ceil((shown[1] - start) / (spacing * grid.box[d])), grid.counts[d])
    for p in {*range(first, last), grid.counts[d] - 1}:
        left = start + (grid.offset[d] + p * grid.box[d]) * spacing
        for shift in (0, -length):  # what reaches over a periodic border comes back at the other
            box = max(left + shift, shown[0]), min(left + shift + width, shown[1])
            if box[1] > box[0]:
                corner = box[0] - 0.5 + GAP, boxes.height - 0.3
                axes.add_patch(
                    Rectangle(corner, box[1] - box[0] - 2 * GAP, 0.6, facecolor=faces[p], edgecolor=edge, zorder=2)
                )


def draw_marks(axes: Axes, marks: Marks, sites: list[int], marker: str, colour: str) -> None:
    """Some variables of a row."""
    x = [marks.place.start + i * marks.place.spacing for i in sites]
    axes.plot(x, [marks.height] * len(x), marker, color=colour, ms=3, mew=1, zorder=3)
