"""Pictures of layouts from the side (paper, Fig. 2a, c, d): rows of bijectors and of levels of latents.

From the side, a bijector is a row of boxes, one for each position of its grid, and data and latents are rows of
variables. Positions are in units of sites of the data, so a box of a coarse lattice is as wide as the pixels below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from mera.drawing.figures import Picture, check_dimension, panels, visible_sites
from mera.graph import Lattice, Layout, Plan, Step, compile
from mera.graph.indexing import Tiling

DISENTANGLER, DECIMATOR, FIELD, BLOCK_SPINS = "#7fbf7b", "#fddc5c", "#b3c7dd", "#d9c2e0"
"""Green and yellow are the colours of the paper, which has no field bijectors and no block spins."""
COLOURS = {"block spins": BLOCK_SPINS, "disentangler": DISENTANGLER, "decimator": DECIMATOR, "field": FIELD}
BORDER, WIRE = "0.3", "0.8"
DATA, LATENT = "tab:blue", "tab:red"
DATA_MARKER, LATENT_MARKER = "o", "x"
MAX_SITES = 32
"""The largest number of sites of an edge that a picture of a layout shows."""
LATENT_HEIGHT = 0.6
"""The distance from a row of boxes to the latents that leave above it; the distance of two rows of boxes is 1."""
GAP = 0.15
"""The distance from a box to the border of the pixels that it covers."""
HEIGHT = 0.6
"""The height of a box."""
MAX_INCHES, ENTRY_INCHES = 11.0, 1.2
"""The largest width of a picture, and the width of an entry of its legend."""


@dataclass(frozen=True)
class Row:
    """A row of a picture from the side: boxes of a bijector, or the variables of the data or of a level of latents.

    Args:
        label: the name of the bijector or of the level.
        value: the number of the value in the plan that the row shows, or that its bijector takes.
        sites: the visible sites, whose places in the picture are `positions`.
        height: the height of the row in the picture, 0 for the data; `below` is that of the row that it comes from.
        step: the step that applies the bijector; None for variables.
        spans: the visible boxes: (position in the grid, first pixel, end).
    """

    label: str
    value: int
    lattice: Lattice
    sites: range
    positions: list[float]
    height: float
    below: float
    step: Step | None = None
    spans: Sequence[tuple[int, float, float]] = ()


def rows(plan: Plan, d: int, view: range) -> list[Row]:
    """The rows of a plan in dimension `d`, from the data upwards."""
    levels = {latent.value: f"z{h}" for h, latent in enumerate(plan.latents)}
    sources = {0: (0.0, 1.0, 1.0, 0.0)}  # value -> position of the first site, spacing, width, height

    def visible(lattice: Lattice, start: float, spacing: float) -> tuple[range, list[float]]:
        first, stop = (math.ceil((end - start) / spacing) for end in (view.start, view.stop))
        sites = range(max(first, 0), min(stop, lattice.shape[d]))
        return sites, [start + site * spacing for site in sites]

    data, height = visible(plan.input, 0.0, 1.0), 0.0
    drawn = [Row("data", 0, plan.input, *data, 0.0, 0.0)]
    if 0 in levels:
        drawn.append(Row(levels[0], 0, plan.input, *data, LATENT_HEIGHT, 0.0))
    for step in plan.steps:
        start, spacing, room, below = sources.pop(step.source)
        outputs = [(start, spacing, room)]
        if step.module:
            height += 1
            tiling = step.apply.cell_tiling
            seen, spans = visible(tiling.lattice, start, spacing), list(_spans(tiling, d, spacing, view))
            drawn.append(Row(step.node, step.source, tiling.lattice, *seen, height, below, step, spans))
            below = height
        elif len(step.targets) > 1:  # the first output stays, the second moves by half the room to the next site
            outputs = [(start, spacing, room / 2), (start + room / 2, spacing, room / 2)]
        elif (cell := step.operation.cell[d]) > 1:
            outputs = [(start, spacing * cell, spacing * cell)]
        for value, lattice, (first, distance, space) in zip(step.targets, step.operation.outputs, outputs, strict=True):
            if value in levels:
                seen = visible(lattice, first, distance)
                drawn.append(Row(levels[value], value, lattice, *seen, height + LATENT_HEIGHT, below))
            sources[value] = first, distance, space, below
        if len(step.targets) > 1 or not levels.keys().isdisjoint(step.targets):
            height += 1  # room for latents and their label below the next row
    return drawn


def _spans(tiling: Tiling, d: int, spacing: float, view: range) -> Iterator[tuple[int, float, float]]:
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


def draw_side(
    plan: Plan,
    d: int,
    view: range,
    colours: Callable[[Row, Sequence[int]], list[str]],
    boxes: Mapping[str, str],
    markers: tuple[str, str],
    title: str,
    border: str | None = None,
) -> Picture:
    """Draw bijectors as boxes above the sites that they act on, data as dots, latents as crosses where they leave.

    The visible sites `view` of dimension `d` are drawn from left to right. `colours` is a function from a row, and
    positions of its grid or sites of its lattice, to their colours. The legend has `boxes`, names with colours, and
    `markers` in the colours of data and of latents. Boxes have a border of a colour, or none.
    """
    drawn = rows(plan, d, view)
    top = max(row.height for row in drawn)
    figure, (axes,) = panels(1, 1, min(2 + 0.28 * len(view), MAX_INCHES), 1.2 + 0.42 * top)
    labels: dict[float, list[str]] = {}  # levels of latents at the same height share a label
    for row in drawn:
        labels.setdefault(row.height, []).append(row.label)
        axes.vlines(row.positions, row.below, row.height, color=WIRE, lw=0.8, zorder=1)
        if row.step is None:
            marker, heights = LATENT_MARKER if row.height else DATA_MARKER, [row.height] * len(row.positions)
            axes.scatter(row.positions, heights, s=9, c=colours(row, row.sites), marker=marker, lw=1, zorder=3)
            continue
        faces = colours(row, [position for position, _, _ in row.spans])
        for (_, left, right), face in zip(row.spans, faces, strict=True):
            left, right = max(left, view.start) - 0.5 + GAP, min(right, view.stop) - 0.5 - GAP
            corner = left, row.height - HEIGHT / 2
            axes.add_patch(Rectangle(corner, right - left, HEIGHT, facecolor=face, edgecolor=border, zorder=2))
    axes.set_yticks(list(labels), [", ".join(sorted(names)) for names in labels.values()], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(view.start - 1, view.stop)
    axes.set_ylim(-0.6, top + 0.6)
    part = f"{view.start:,} to {view.stop:,}" if view.start else f"the first {view.stop:,}"
    edge = plan.input.shape[d]
    axes.set_xlabel(f"site in dimension {d}" + (f", {part} of {edge:,}" if len(view) < edge else ""), fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    entries: list[Artist] = [Patch(fc=colour, ec=border, label=name) for name, colour in boxes.items()]
    for marker, colour, name in zip((DATA_MARKER, LATENT_MARKER), markers, ("data", "latents"), strict=True):
        entries.append(Line2D([], [], ls="", marker=marker, ms=4, color=colour, label=name))
    columns = min(len(entries), max(int(figure.get_figwidth() / ENTRY_INCHES), 1))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_layout(layout: Layout, dimension: int = -1, title: str = "") -> Picture:
    """Draw a layout as Fig. 2(a) of the paper: `draw_layout(layout).savefig("layout.png")`.

    Bijectors are boxes above the sites that they act on, data are dots at the bottom, latents are crosses where they
    leave. Of an edge longer than 32 sites, the picture shows the first 32, and says so.

    Args:
        layout: the layout, for example `flow.layout`.
        dimension: the dimension of the lattice that is drawn from left to right.
        title: the title; if empty, the lattice of the data.
    """
    plan = compile(layout)
    d = check_dimension(dimension, plan.input)
    role = roles(plan)

    def colours(row: Row, places: Sequence[int]) -> list[str]:
        if row.step is None:
            return [LATENT if row.height else DATA] * len(places)
        return [COLOURS[role[row.step]]] * len(places)

    view = visible_sites(0, plan.input.shape[d], MAX_SITES)
    boxes = {name: colour for name, colour in COLOURS.items() if name in role.values()}
    return draw_side(plan, d, view, colours, boxes, (DATA, LATENT), title or f"{plan.input}, from the side", BORDER)


def roles(plan: Plan) -> dict[Step, str]:
    """Classify each bijector of a plan as "disentangler", "decimator", "block spins" or "field".

    A field bijector acts on the whole lattice. A decimator is the last bijector on patches before variables are cut
    off, even if field bijectors follow it, or before all variables of a coarse lattice leave as latents. Block spins
    act on the cells of the decimation that follows, before larger patches. All other bijectors on patches are
    disentanglers. So the Haar transform of a wavelet flow is a decimator, and a brick wall has none.
    """
    next_step = {step.source: step for step in plan.steps}
    roles_by_step = {}
    for step in plan.bijections:
        following, cell, patches = next_step.get(step.targets[0]), (1,) * plan.input.dim, []
        while following is not None and len(following.targets) == 1:
            cell = tuple(c * n for c, n in zip(cell, following.operation.cell, strict=True))
            if following.module and not following.apply.is_field:
                patches.append(following.apply.kernel)
            following = next_step.get(following.targets[0])
        if step.apply.is_field:
            roles_by_step[step] = "field"
        elif patches:
            is_cell = step.apply.kernel == cell and not any(step.apply.offset)
            is_small = any(math.prod(kernel) > math.prod(cell) for kernel in patches)
            roles_by_step[step] = "block spins" if is_cell and is_small else "disentangler"
        else:
            cuts = step.apply.lattice != plan.input if following is None else True
            roles_by_step[step] = "decimator" if cuts else "disentangler"
    return roles_by_step
