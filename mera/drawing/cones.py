"""Pictures of causal cones, drawn from the plan that the flow runs."""

from __future__ import annotations

import math

import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mera.cones import Cone
from mera.drawing.side import Boxes, draw_boxes, draw_marks, label_heights, rows, sites_in

__all__ = ["level_masks", "side_view"]

WIDEST = 128
"""Sites of an edge that a picture shows; of a larger lattice it shows the part around the cone."""
OUTSIDE = "0.85"


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
    shown = _shown(_along(cone.reached[0] // plan.input.channels, plan.input.shape, d), plan.input.shape[d])
    figure = Figure(figsize=(11, 0.8 + 0.32 * len(plan.steps)), layout="constrained")
    axes = figure.subplots()
    drawn = list(rows(plan, d))
    for row in drawn:
        if isinstance(row, Boxes):
            changed = torch.cat([cone.reached[row.step.source], cone.reached[row.step.targets[0]]])
            positions, _, inside = row.grid.locate(changed)
            touched = set(_along(positions[inside], row.grid.counts, d).tolist())
            faces = [colour if p in touched else OUTSIDE for p in range(row.grid.counts[d])]
            draw_boxes(axes, row, d, shown, faces)
            continue
        touched = set(_along(cone.reached[row.value] // row.lattice.channels, row.lattice.shape, d).tolist())
        for inside_cone, paint in ((False, "0.6"), (True, colour)):
            sites = [i for i in sites_in(row.lattice, d, row.place, shown) if (i in touched) == inside_cone]
            draw_marks(axes, row, sites, "o" if row.height == 0 else "x", paint)
    label_heights(axes, drawn)
    axes.set_xlim(shown[0] - 1, shown[1])
    part = (
        ""
        if shown[1] - shown[0] == plan.input.shape[d]
        else f", {shown[0]:,} to {shown[1]:,} of {plan.input.shape[d]:,}"
    )
    axes.set_xlabel(f"site in dimension {d}{part}")
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
    lines = -(-len(values) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * lines), layout="constrained")
    panels = iter(figure.subplots(lines, columns, squeeze=False).flat)
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
