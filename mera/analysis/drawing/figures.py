"""Parts of figures: the visible part of a lattice, panels side by side, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.graph import Lattice


class Picture(Figure):
    """A matplotlib figure that notebooks display without pyplot."""

    def _repr_png_(self) -> bytes:
        """The figure as a PNG, for notebooks."""
        buffer = BytesIO()
        self.savefig(buffer, dpi=100, format="png")
        return buffer.getvalue()


DATA_MARKER, LATENT_MARKER = "o", "x"
ENTRY_WIDTH = 1.2
"""The width of an entry of a legend, in inches."""


@dataclass(frozen=True)
class View:
    """The visible part of one edge of a lattice: sites `start` to `stop - 1` of `edge` sites."""

    start: int
    stop: int
    edge: int

    @classmethod
    def around(cls, site: int, edge: int, most: int) -> View:
        """The whole edge, or `most` sites with `site` near the middle if the edge is longer."""
        size = min(edge, most)
        start = min(max(site - size // 2, 0), edge - size)
        return cls(start, start + size, edge)

    @property
    def size(self) -> int:
        """The number of visible sites."""
        return self.stop - self.start

    @property
    def part(self) -> str:
        """The visible part in words, "the first 32 of 64"; empty if the whole edge is visible."""
        if self.size == self.edge:
            return ""
        sites = f"{self.start:,} to {self.stop:,}" if self.start else f"the first {self.stop:,}"
        return f"{sites} of {self.edge:,}"


def check_dimension(dimension: object, lattice: Lattice) -> int:
    """Normalize a dimension of a lattice, where negative numbers count from the last one; refuse other values."""
    if not is_integer(dimension) or not -lattice.dim <= dimension < lattice.dim:  # type: ignore[operator]
        raise InputError(f"a dimension from {-lattice.dim} to {lattice.dim - 1}", repr(dimension))
    return int(dimension) % lattice.dim  # type: ignore[call-overload]


def panels(count: int, columns: int, width: float, height: float, margin: float = 0.0) -> tuple[Picture, list[Axes]]:
    """Make a figure with `count` panels, line by line, with `columns` in a line at most.

    Panels have a width and a height, and the title and the legend together the height `margin`, in inches.
    """
    columns = min(count, columns)
    figure, table = table_of_panels(-(-count // columns), columns, width, height, margin)
    axes = list(table.flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def table_of_panels(
    lines: int, columns: int, width: float, height: float, margin: float = 0.0
) -> tuple[Picture, np.ndarray]:
    """Make a figure with an array (lines, columns) of panels; see `panels`."""
    figure = Picture(figsize=(width * columns, height * lines + margin), layout="constrained")
    return figure, figure.subplots(lines, columns, squeeze=False)


def add_legend(figure: Figure, handles: Sequence[Artist], title: str) -> None:
    """Write a title of one or more lines above a figure, and a legend below it."""
    columns = min(len(handles), max(int(figure.get_figwidth() / ENTRY_WIDTH), 1))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)


def box_handles(colours: Iterable[tuple[str, str]], edge: str | None = None) -> list[Artist]:
    """Legend entries for boxes, from pairs (name, colour)."""
    return [Patch(facecolor=colour, edgecolor=edge, label=name) for name, colour in colours]


def marker_handles(data: str, latents: str) -> list[Artist]:
    """Legend entries for the dots of the data and the crosses of the latents, from their colours."""
    return [
        Line2D([], [], ls="", marker=marker, ms=4, color=colour, label=name)
        for marker, colour, name in ((DATA_MARKER, data, "data"), (LATENT_MARKER, latents, "latents"))
    ]
