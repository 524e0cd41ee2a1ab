"""Parts of figures: the visible part of a lattice, and panels side by side."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mera._utils.errors import InputError
from mera.graph import Lattice


class Picture(Figure):
    """A matplotlib figure that notebooks display without pyplot."""

    def _repr_png_(self) -> bytes:
        """The figure as a PNG, for notebooks."""
        buffer = BytesIO()
        self.savefig(buffer, dpi=100, format="png")
        return buffer.getvalue()


def visible_sites(site: int, edge: int, most: int) -> range:
    """The visible sites of an edge: all of them, or `most` with `site` near the middle if there are more."""
    start = min(max(site - most // 2, 0), max(edge - most, 0))
    return range(start, min(start + most, edge))


def check_dimension(dimension: int, lattice: Lattice) -> int:
    """Normalize a dimension of a lattice, where negative numbers count from the last one; refuse other values."""
    if dimension not in range(-lattice.dim, lattice.dim):
        raise InputError(f"a dimension from {-lattice.dim} to {lattice.dim - 1}", repr(dimension))
    return dimension % lattice.dim


def panels(count: int, columns: int, width: float, height: float, margin: float = 0.0) -> tuple[Picture, list[Axes]]:
    """Make a figure with `count` panels, line by line, with `columns` in a line at most.

    Panels have a width and a height, and the title and the legend together the height `margin`, in inches.
    """
    columns = min(count, columns)
    lines = -(-count // columns)
    figure = Picture(figsize=(width * columns, height * lines + margin), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]
