"""View of a plan from the side (paper, Fig. 2a, c, d)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mera.analysis.drawing.figures import DATA_MARKER, LATENT_MARKER, Picture, View, add_legend, panels
from mera.analysis.drawing.rows import Boxes, Row, Variables, rows
from mera.graph import Plan

Colours = Callable[[Boxes | Variables, Sequence[int]], Sequence[str]]
"""Function from a row, and positions of its grid or sites of its lattice, to the colour of each box or variable."""

GAP = 0.15
"""The distance from a box to the border of the pixels that it covers."""
HEIGHT = 0.6
"""The height of a box."""
WIRE = "0.8"
WIDEST = 11.0
"""The largest width of a picture, in inches."""


def draw_side(
    plan: Plan, d: int, view: View, colours: Colours, edge: str | None, legend: Sequence[Artist], title: str
) -> Picture:
    """Draw bijectors as boxes above the sites that they act on, data as dots, latents as crosses where they leave.

    Args:
        plan: the plan.
        d: the dimension of the lattice that is drawn from left to right.
        view: the visible sites of the data in dimension `d`.
        colours: the colours of boxes and variables.
        edge: the colour of the borders of boxes; None for no borders.
        legend: the entries of the legend.
        title: the title.
    """
    drawn = rows(plan)
    top = max(row.height for row in drawn)
    figure, (axes,) = panels(1, 1, min(2 + 0.28 * view.size, WIDEST), 1.2 + 0.42 * top)
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
