"""View of a plan from above (paper, Fig. 2b): the blocks on each lattice, and the sites that leave as latents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from mera.cones.regions import rectangle
from mera.drawing.figures import DATA_MARKER, LATENT_MARKER, Picture, View, add_legend, panels
from mera.drawing.rows import Boxes, Row, Variables, rows
from mera.graph import Plan
from mera.graph.indexing import indices_at

MOST_PANELS = 12


def draw_above(
    plan: Plan,
    views: Sequence[View],
    colour: Callable[[Boxes], str],
    marker_colours: tuple[str, str],
    legend: Sequence[Artist],
    title: str,
) -> Picture:
    """Draw a panel for each lattice, with the outlines of the blocks on it, and crosses at the sites that leave it.

    All panels show the same pixels. If they are a part of the lattice, a line below the title says which part, and
    coarse lattices with only one site in this part have no panel.

    Args:
        plan: the plan, on a lattice of 1 or 2 dimensions.
        views: for each dimension, the sites of the data that are shown.
        colour: the colour of a bijector's outlines.
        marker_colours: the colours of sites that stay on a lattice, and of sites that leave it.
        legend: the entries of the legend.
        title: the title.
    """
    lattices: dict[int, list[Boxes | Variables]] = {}
    for row in rows(plan):
        lattices.setdefault(row.panel, []).append(row)
    # a lattice without bijectors has no panel: its sites are crosses on the lattice that it was cut from
    contents = [content for content in lattices.values() if len(content) > 1 or isinstance(content[0], Boxes)]
    shown = [content for content in contents if _is_visible(content[0], views)][:MOST_PANELS]
    if plan.input.dim == 1:
        figure, axes = panels(len(shown), 1, 2 + 0.28 * views[0].size, 1.1, margin=0.8)
    else:
        figure, axes = panels(len(shown), 4, 3.4, 3.6, margin=0.6)
    leaving = latent_sites(plan, views)
    for panel, content in zip(axes, shown, strict=True):
        _draw_lattice(panel, content, views, colour, marker_colours, leaving)
    lines = [title, *(f"dimension {d}: {view.part} sites" for d, view in enumerate(views) if view.part)]
    if len(shown) < len(contents):
        lines.append(f"{len(shown)} of {len(contents)} lattices")
    add_legend(figure, legend, "\n".join(lines))
    return figure


def _is_visible(row: Row, views: Sequence[View]) -> bool:
    """Whether a panel would show a whole lattice, or more than one of its sites."""
    return any(not view.part or len(row.sites(d, view)) > 1 for d, view in enumerate(views))


def latent_sites(plan: Plan, views: Sequence[View]) -> dict[int, Tensor]:
    """The sites of the data at which `Flow.to_lattice` places the latents of each level.

    Only variables of visible sites are followed through the plan, so the cost does not depend on the lattice size.

    Args:
        plan: the plan.
        views: for each dimension, the sites of the data that are shown.

    Returns:
        For the number of each value that leaves the flow, coordinates (n, dim) of its sites within the views.
    """
    sites = rectangle([(view.start, view.stop) for view in views], plan.input)
    variables = indices_at(sites, plan.input)
    coordinates = torch.cartesian_prod(*(torch.arange(view.start, view.stop) for view in views))
    origins = torch.arange(len(sites)).expand_as(variables)
    # value -> origin in `sites` and flat index of each variable
    followed = {0: (origins.flatten(), variables.flatten())}
    for step in plan.steps:
        origin, index = followed.pop(step.source)
        for target, (is_moved, moved) in zip(step.targets, step.operation.map_forward(index), strict=True):
            followed[target] = origin[is_moved], moved
    return {value: coordinates.view(len(sites), -1)[origin.unique()] for value, (origin, _) in followed.items()}


def _draw_lattice(
    axes: Axes,
    content: Sequence[Boxes | Variables],
    views: Sequence[View],
    colour: Callable[[Boxes], str],
    marker_colours: tuple[str, str],
    leaving: dict[int, Tensor],
) -> None:
    """Draw one panel: the bijectors on a lattice, its sites, and the latents that leave it."""
    bijectors = [row for row in content if isinstance(row, Boxes)]
    for number, row in enumerate(bijectors):
        _draw_outlines(axes, row, views, colour(row), number)
    if bijectors:
        lines = [bijectors[0].positions(d, view) for d, view in enumerate(views)]
        _draw_points(axes, list(itertools.product(*lines)), DATA_MARKER, marker_colours[0], ms=2)
        axes.set_title(f"{bijectors[0].lattice}", fontsize=8)
    for variables in content:
        if isinstance(variables, Variables) and not variables.is_data:
            _draw_points(axes, leaving[variables.value].tolist(), LATENT_MARKER, marker_colours[1], ms=4)
    axes.set_xlim(views[-1].start - 0.8, views[-1].stop - 0.2)
    top, bottom = (views[0].start, views[0].stop) if len(views) > 1 else (0, 1)
    axes.set_ylim(bottom - 0.2, top - 0.8)
    axes.set(aspect="equal", xticks=[], yticks=[])


def _draw_outlines(axes: Axes, row: Boxes, views: Sequence[View], colour: str, number: int) -> None:
    """Draw the borders of a bijector's blocks, with more padding for later bijectors so that none is hidden."""
    spans = [[(left, right) for _, left, right in row.spans(d, view)] for d, view in enumerate(views)]
    if len(spans) == 1:
        spans.insert(0, [(0.0, 1.0)])
    pad = 0.1 + 0.08 * (number % 5)
    for (top, bottom), (left, right) in itertools.product(*spans):
        corner = left - 0.5 + pad, top - 0.5 + pad
        axes.add_patch(Rectangle(corner, right - left - 2 * pad, bottom - top - 2 * pad, fill=False, ec=colour, lw=1.8))


def _draw_points(axes: Axes, points: Sequence[Sequence[float]], marker: str, colour: str, ms: float) -> None:
    """Draw markers at points (y, x), or (x,) in one dimension."""
    x, y = [point[-1] for point in points], [point[0] if len(point) > 1 else 0.0 for point in points]
    axes.plot(x, y, marker, color=colour, ms=ms, mew=1)
