"""What all pictures of plans share: the part of a lattice that is shown, panels side by side, the legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.graph import Lattice


class Picture(Figure):
    """A matplotlib figure that a notebook shows by itself, without pyplot."""

    def _repr_png_(self) -> bytes:
        """The figure as a PNG, which notebooks ask for."""
        buffer = BytesIO()
        self.savefig(buffer, dpi=100, format="png")
        return buffer.getvalue()


DATA_MARKER, LATENT_MARKER = "o", "x"
ENTRY_WIDTH = 1.2
"""The width of an entry of a legend, in inches."""


@dataclass(frozen=True)
class View:
    """The sites of one edge of a lattice that a picture shows.

    Args:
        start: the first site that is shown.
        stop: the site after the last one that is shown.
        edge: the number of sites of the whole edge.
    """

    start: int
    stop: int
    edge: int

    @classmethod
    def around(cls, site: int, edge: int, most: int) -> View:
        """The whole edge, or if it is longer than `most` sites, so many of them with `site` near the middle.

        Args:
            site: the site near the middle.
            edge: the number of sites of the whole edge.
            most: the largest number of sites that are shown.
        """
        size = min(edge, most)
        start = min(max(site - size // 2, 0), edge - size)
        return cls(start, start + size, edge)

    @property
    def size(self) -> int:
        """The number of sites that are shown."""
        return self.stop - self.start

    @property
    def part(self) -> str:
        """The part of the edge that is shown, in words; empty if all of it is."""
        if self.size == self.edge:
            return ""
        sites = f"{self.start:,} to {self.stop:,}" if self.start else f"the first {self.stop:,}"
        return f"{sites} of {self.edge:,}"


def check_dimension(dimension: object, lattice: Lattice) -> int:
    """The dimension of a lattice that a user names, counted from 0.

    Args:
        dimension: the dimension; negative numbers count from the last one.
        lattice: the lattice.

    Raises:
        ValueError: if the lattice has no such dimension.
    """
    if not is_integer(dimension) or not -lattice.dim <= dimension < lattice.dim:  # type: ignore[operator]
        raise InputError(f"a dimension from {-lattice.dim} to {lattice.dim - 1}", repr(dimension))
    return int(dimension) % lattice.dim  # type: ignore[call-overload]


def panels(count: int, columns: int, width: float, height: float, margin: float = 0.0) -> tuple[Picture, list[Axes]]:
    """A figure with panels side by side, in as many lines as are needed.

    Args:
        count: the number of panels.
        columns: the largest number of panels in a line.
        width: the width of a panel, in inches.
        height: the height of a panel, in inches.
        margin: height of the title and legend around the panels, in inches.

    Returns:
        The figure, and its panels line by line.
    """
    columns = min(count, columns)
    lines = -(-count // columns)
    figure = Picture(figsize=(width * columns, height * lines + margin), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def add_legend(figure: Figure, handles: Sequence[Artist], title: str) -> None:
    """Write the title above a figure and the legend below it.

    Args:
        figure: the figure.
        handles: the entries of the legend.
        title: the title, of one line or several.
    """
    columns = min(len(handles), max(int(figure.get_figwidth() / ENTRY_WIDTH), 1))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)


def box_handles(colours: Iterable[tuple[str, str]], edge: str | None = None) -> list[Artist]:
    """Entries of a legend for boxes, from pairs of a name and a colour."""
    return [Patch(facecolor=colour, edgecolor=edge, label=name) for name, colour in colours]


def marker_handles(data: str, latents: str) -> list[Artist]:
    """Entries of a legend for the dots of the data and the crosses of latents, from the colours of both."""
    return [
        Line2D([], [], ls="", marker=marker, ms=4, color=colour, label=name)
        for marker, colour, name in ((DATA_MARKER, data, "data"), (LATENT_MARKER, latents, "latents"))
    ]
