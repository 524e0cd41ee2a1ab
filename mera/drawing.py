"""Pictures of causal cones, drawn from the plan that the flow runs."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mera.graph import Apply, Cone, Cut, Lattice, Regroup
from mera.graph.addresses import Tiling, cell_tiling

__all__ = ["level_masks", "side_view"]

WIDEST = 128
"""Sites of an edge that a picture shows; of a larger lattice it shows the part around the cone."""
OUTSIDE = "0.85"
GAP = 0.15
"""Sites between a box of a side view and the border of what it stands for."""

Place = tuple[float, float]
"""Where a value's first site is in the data, and how many sites of the data lie between two of its own."""


def side_view(cone: Cone, colour: str = "tab:blue", dimension: int = -1) -> Figure:
    """The network from the side, with a cone filled in (paper, Fig. 2c, d).

    Dots at the bottom are data, each row of boxes is a bijector, crosses are latents where they leave. What is filled
    is in the cone somewhere along the other dimensions.

    Args:
        cone: an inference or a generation cone; blue and red are the paper's colours of them.
        colour: of the cone.
        dimension: of the lattice, drawn from left to right.
    """
    plan = cone.plan
    d = dimension % plan.input.dim
    first, last = _shown(_along(cone.reached[0] // plan.input.channels, plan.input.shape, d), plan.input.shape[d])
    figure = Figure(figsize=(11, 0.8 + 0.32 * len(plan.steps)), layout="constrained")
    axes = figure.subplots()
    places: dict[int, Place] = {0: (0.0, 1.0)}
    leaving = {latent.value: h for h, latent in enumerate(plan.latents)}
    height, labels = 0.0, {0.0: "data"}
    _mark(axes, cone.reached[0], plan.input, d, (0.0, 1.0), (first, last), height, "o", colour)
    for step in plan.steps:
        start, spacing = places.pop(step.source)
        match step.action:
            case Apply():
                height += 1
                labels[height] = step.node
                places[step.targets[0]] = (start, spacing)
                changed = torch.cat([cone.reached[step.source], cone.reached[step.targets[0]]])
                _boxes(axes, cell_tiling(step.action), changed, d, (start, spacing), (first, last), height, colour)
            case Regroup():
                places[step.targets[0]] = (start, spacing * step.action.stride[d])
            case Cut():  # what is sent out is drawn between what goes on
                kept, rest = step.targets
                places |= {kept: (start, spacing), rest: (start + spacing / 2, spacing)}
        for target, lattice in zip(step.targets, step.action.outputs, strict=True):
            if target in leaving:
                labels[height + 0.6] = f"z{leaving[target]}"
                _mark(axes, cone.reached[target], lattice, d, places[target], (first, last), height + 0.6, "x", colour)
        height += isinstance(step.action, Cut)
    axes.set_yticks(list(labels), list(labels.values()), fontsize=8)
    axes.set_xlim(first - 1, last)
    shown = "" if last - first == plan.input.shape[d] else f", {first:,} to {last:,} of {plan.input.shape[d]:,}"
    axes.set_xlabel(f"site in dimension {d}{shown}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    total = plan.input.variables
    axes.set_title(f"in the cone: {len(cone.reached[0]):,} of {total:,} data, {cone.count:,} latents", fontsize=10)
    return figure


def level_masks(cone: Cone, colour: str = "tab:blue") -> Figure:
    """The data and each level of latents from above, with a cone filled in. Lattices of two dimensions.

    Raises:
        ValueError: if the lattice has another number of dimensions.
    """
    plan = cone.plan
    if plan.input.dim != 2:
        raise ValueError(f"Expected a lattice of 2 dimensions to draw from above; got {plan.input.dim}")
    values = [(0, plan.input, "data")]
    values += [(latent.value, latent.lattice, f"z{h}") for h, latent in enumerate(plan.latents)]
    columns = min(len(values), 6)
    rows = -(-len(values) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    panels = iter(figure.subplots(rows, columns, squeeze=False).flat)
    paint = ListedColormap([OUTSIDE, colour])
    for value, lattice, name in values:
        axes = next(panels)
        sites = (cone.reached[value] // lattice.channels).unique()
        coordinates = [sites // lattice.shape[1], sites % lattice.shape[1]]
        (top, bottom), (left, right) = map(_shown, coordinates, lattice.shape)
        y, x = coordinates[0] - top, coordinates[1] - left
        inside = (y >= 0) & (y < bottom - top) & (x >= 0) & (x < right - left)
        mask = torch.zeros(bottom - top, right - left)
        mask[y[inside], x[inside]] = 1
        axes.imshow(mask.numpy(), cmap=paint, vmin=0, vmax=1, extent=(left, right, bottom, top))
        axes.tick_params(labelsize=6)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        hidden = len(sites) - int(inside.sum())
        if hidden:
            axes.set_xlabel(f"{hidden:,} more sites elsewhere", fontsize=7)
        axes.set_title(f"{name}: {lattice}", fontsize=8)
    for axes in panels:
        axes.set_axis_off()
    return figure


def _boxes(
    axes: Axes, grid: Tiling, changed: Tensor, d: int, place: Place, shown: tuple[int, int], height: float, colour: str
) -> None:
    """A row of boxes, each over the sites of the data that it stands above."""
    start, spacing = place
    positions, _, inside = grid.locate(changed)
    touched = set(_along(positions[inside], grid.counts, d).tolist())
    width, edge = grid.box[d] * spacing, grid.lattice.shape[d] * spacing
    first = max(math.floor((shown[0] - start) / (spacing * grid.box[d])) - 1, 0)
    last = min(math.ceil((shown[1] - start) / (spacing * grid.box[d])), grid.counts[d])
    for p in {*range(first, last), grid.counts[d] - 1}:
        left = start + (grid.offset[d] + p * grid.box[d]) * spacing
        for shift in (0, -edge):  # what reaches over a periodic border comes back at the other
            box = max(left + shift, shown[0]), min(left + shift + width, shown[1])
            if box[1] > box[0]:
                face = colour if p in touched else OUTSIDE
                corner = box[0] - 0.5 + GAP, height - 0.3
                axes.add_patch(Rectangle(corner, box[1] - box[0] - 2 * GAP, 0.6, facecolor=face))


def _mark(
    axes: Axes, changed: Tensor, lattice: Lattice, d: int, place: Place, shown: tuple[int, int], height: float,
    marker: str, colour: str,
) -> None:  # fmt: skip
    """A row of variables, those of the cone in its colour."""
    start, spacing = place
    first = max(math.ceil((shown[0] - start) / spacing), 0)
    last = min(math.ceil((shown[1] - start) / spacing), lattice.shape[d])
    touched = set(_along(changed // lattice.channels, lattice.shape, d).tolist())
    for inside, paint in ((False, "0.6"), (True, colour)):
        sites = [start + i * spacing for i in range(first, last) if (i in touched) == inside]
        axes.plot(sites, [height] * len(sites), marker, color=paint, ms=3, mew=1)


def _along(sites: Tensor, shape: tuple[int, ...], d: int) -> Tensor:
    """The coordinates that sites have in dimension d."""
    return (sites // math.prod(shape[d + 1 :]) % shape[d]).unique()


def _shown(coordinates: Tensor, n: int) -> tuple[int, int]:
    """From where to where an edge of n sites is shown, the given ones in the middle if it is long."""
    if n <= WIDEST:
        return 0, n
    middle = int(coordinates.median()) if len(coordinates) else 0  # one of them, even if they wrap around the border
    start = min(max(middle - WIDEST // 2, 0), n - WIDEST)
    return start, start + WIDEST
