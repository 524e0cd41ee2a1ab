"""Pictures of layouts: from the side (paper, Fig. 2a) and from above (Fig. 2b)."""

from __future__ import annotations

import itertools

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from mera._utils.checks import check_choice, is_integer
from mera.cones.indexing import map_inverse
from mera.drawing.side import Boxes, Marks, draw_boxes, draw_marks, label_heights, rows, sites_in
from mera.graph import Apply, Cut, Layout, Plan, Regroup, compile

__all__ = ["draw_layout"]

DISENTANGLER, DECIMATOR, FIELD = "#7fbf7b", "#fddc5c", "#b3c7dd"
"""The paper's green and yellow; fields, which it has none of, are blue-grey."""
VISIBLE, LATENT, WIRE = "tab:blue", "tab:red", "0.75"
WIDEST = 32
"""Sites of an edge that a picture shows."""
LARGEST = 12
"""Lattices that a view from above shows."""
NOTHING = torch.empty(0, dtype=torch.int64)


def draw_layout(layout: Layout, view: str = "side", dimension: int = -1, title: str = "") -> Figure:
    """A picture of a layout, as the paper draws networks: `draw_layout(layout).savefig("layout.png")`.

    Args:
        layout: the layout, `flow.layout` say.
        view: "side", as Fig. 2(a) of the paper: bijectors above the sites that they act on, the data as dots below,
            latents as crosses where they leave. "above", as Fig. 2(b): the blocks on each lattice, in 1 or 2
            dimensions. Of a long edge the first 32 sites are shown.
        dimension: in the side view, the dimension of the lattice that is drawn from left to right.
        title: the title of the picture.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the view or the dimension is unknown, or the view is "above" on a lattice of 3 dimensions.
        LayoutError: if the layout does not compile.
    """
    dim = layout.input.lattice.dim
    if not is_integer(dimension) or not -dim <= dimension < dim:
        raise ValueError(f"Expected a dimension from {-dim} to {dim - 1}; got {dimension!r}")
    return VIEWS[check_choice(view, VIEWS, "a view")](compile(layout), dimension, title)


def roles(plan: Plan) -> dict[int, str]:
    """For the number of each bijector's step, what it does: "decimator" before variables leave, "disentangler" else.

    A field bijector, which acts on the whole lattice, is a "field".
    """
    leaving = {latent.value for latent in plan.latents}
    takers = {step.source: step for step in plan.steps}
    found = {}
    for number, step in enumerate(plan.steps):
        if not isinstance(step.action, Apply):
            continue
        value = step.targets[0]
        while value in takers and isinstance(takers[value].action, Regroup):
            value = takers[value].targets[0]
        decimates = value in leaving or isinstance(takers[value].action, Cut)
        found[number] = "field" if step.action.is_field else "decimator" if decimates else "disentangler"
    return found


COLOURS = {"disentangler": DISENTANGLER, "decimator": DECIMATOR, "field": FIELD}


def _side(plan: Plan, dimension: int, title: str) -> Figure:
    """Fig. 2(a): blocks above the sites that they act on, data as dots below, latents as crosses where they leave."""
    d = dimension % plan.input.dim
    shown = (0, min(plan.input.shape[d], WIDEST))
    all_rows = list(rows(plan, d))
    role = {id(plan.steps[number]): name for number, name in roles(plan).items()}
    highest = max(row.height for row in all_rows)
    figure = Figure(figsize=(2 + 0.28 * (shown[1] - shown[0]), 1.2 + 0.42 * highest), layout="constrained")
    axes = figure.subplots()
    for row in all_rows:
        lattice = row.grid.lattice if isinstance(row, Boxes) else row.lattice
        sites = list(sites_in(lattice, d, row.place, shown))
        x = [row.place.start + i * row.place.spacing for i in sites]
        axes.vlines(x, row.below, row.height, color=WIRE, lw=0.8, zorder=1)
        if isinstance(row, Boxes):
            draw_boxes(axes, row, d, shown, [COLOURS[role[id(row.step)]]] * row.grid.counts[d], edge="0.3")
        else:
            draw_marks(axes, row, sites, "o" if row.height == 0 else "x", VISIBLE if row.height == 0 else LATENT)
    label_heights(axes, all_rows)
    axes.set_xlim(shown[0] - 1, shown[1])
    axes.set_ylim(-0.6, highest + 0.6)
    part = "" if shown[1] == plan.input.shape[d] else f", the first {shown[1]} of {plan.input.shape[d]}"
    axes.set_xlabel(f"site in dimension {d}{part}", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _finish(figure, title or f"{plan.input}, from the side", set(role.values()))
    return figure


def _above(plan: Plan, dimension: int, title: str) -> Figure:
    """Fig. 2(b): a panel for each lattice, with the outlines of the blocks on it, and the sites that leave from it."""
    if plan.input.dim == 3:
        raise ValueError("Expected a lattice of 1 or 2 dimensions to draw from above; got 3")
    role = {id(plan.steps[number]): name for number, name in roles(plan).items()}
    panels: dict[int, list[tuple[Boxes | Marks, ...]]] = {}
    for aligned in zip(*(rows(plan, d) for d in range(plan.input.dim)), strict=True):
        panels.setdefault(aligned[0].lattice_number, []).append(aligned)
    shown = [content for content in panels.values() if len(content) > 1 or isinstance(content[0][0], Boxes)][:LARGEST]
    edges = [min(n, WIDEST) for n in plan.input.shape]
    if plan.input.dim == 1:
        figure = Figure(figsize=(2 + 0.28 * edges[0], 1.1 * len(shown) + 0.8), layout="constrained")
        grid = figure.subplots(len(shown), 1, squeeze=False)
    else:
        columns = min(len(shown), 4)
        lines = -(-len(shown) // columns)
        figure = Figure(figsize=(3.4 * columns, 0.6 + 3.6 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False)
    panes = iter(grid.flat)
    for content in shown:
        axes = next(panes)
        boxes = [row for aligned in content if (row := tuple(r for r in aligned if isinstance(r, Boxes)))]
        for inset, aligned in enumerate(boxes):
            _outlines(axes, aligned, edges, COLOURS[role[id(aligned[0].step)]], inset)
        if boxes:
            _dots(axes, boxes[0], edges)
        for aligned in content:
            if isinstance(aligned[0], Marks) and aligned[0].height:
                _crosses(axes, plan, aligned[0].value, edges)
        axes.set_xlim(-0.8, edges[-1] - 0.2)
        axes.set_ylim((edges[0] if len(edges) > 1 else 1) - 0.2, -0.8)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{boxes[0][0].grid.lattice}" if boxes else "", fontsize=8)
    for axes in panes:
        axes.set_axis_off()
    _finish(figure, title or f"{plan.input}, from above", set(role.values()))
    return figure


def _outlines(axes: Axes, aligned: tuple[Boxes, ...], edges: list[int], colour: str, inset: int) -> None:
    """The borders of a bijector's blocks, each row of blocks a little further within, so that all can be seen."""
    spans = []
    for d, row in enumerate(aligned):
        place, grid = row.place, row.grid
        width, length = grid.box[d] * place.spacing, grid.lattice.shape[d] * place.spacing
        starts = [place.start + (grid.offset[d] + p * grid.box[d]) * place.spacing for p in range(grid.counts[d])]
        spans.append([(a + shift, a + shift + width) for a in starts for shift in (0, -length)
                      if a + shift < edges[d] and a + shift + width > 0])  # fmt: skip
    if len(spans) == 1:
        spans.insert(0, [(0.0, 1.0)])
    pad = 0.1 + 0.08 * (inset % 5)
    for (top, bottom), (left, right) in itertools.product(*spans):
        corner = left - 0.5 + pad, top - 0.5 + pad
        axes.add_patch(Rectangle(corner, right - left - 2 * pad, bottom - top - 2 * pad, fill=False, ec=colour, lw=1.8))


def _dots(axes: Axes, aligned: tuple[Boxes, ...], edges: list[int]) -> None:
    """The sites of a lattice."""
    coordinates = [
        [row.place.start + i * row.place.spacing for i in sites_in(row.grid.lattice, d, row.place, (0, edges[d]))]
        for d, row in enumerate(aligned)
    ]
    if len(coordinates) == 1:
        coordinates.insert(0, [0.0])
    pairs = list(itertools.product(*coordinates))
    axes.plot([x for _, x in pairs], [y for y, _ in pairs], "o", color=VISIBLE, ms=2)


def _crosses(axes: Axes, plan: Plan, value: int, edges: list[int]) -> None:
    """The latents of a level, each at its own site of the data, where `Flow.to_lattice` lays it."""
    (latent,) = (latent for latent in plan.latents if latent.value == value)
    numbers = {value: torch.arange(latent.lattice.variables)}
    for step in reversed(plan.steps):
        behind = [numbers.pop(target, NOTHING) for target in step.targets]
        numbers[step.source] = behind[0] if isinstance(step.action, Apply) else map_inverse(step.action, behind)
    sites = (numbers[0] // plan.input.channels).unique()
    y, x = sites // plan.input.shape[-1], sites % plan.input.shape[-1]
    inside = (x < edges[-1]) & (y < (edges[0] if plan.input.dim == 2 else 1))
    axes.plot(x[inside].tolist(), y[inside].tolist(), "x", color=LATENT, ms=4, mew=1)


def _finish(figure: Figure, title: str, shown: set[str]) -> None:
    """Title and legend."""
    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, edgecolor="0.3", label=name) for name, colour in COLOURS.items() if name in shown
    ]
    handles.append(Line2D([], [], ls="", marker="o", ms=4, color=VISIBLE, label="data"))
    handles.append(Line2D([], [], ls="", marker="x", ms=4, color=LATENT, label="latents"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)


VIEWS = {"side": _side, "above": _above}
