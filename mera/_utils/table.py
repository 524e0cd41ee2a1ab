"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows as a text with left-aligned columns and a ruled header.

    Args:
        header: the name of each column.
        rows: for each row, the cells.

    >>> print(table(["node", "patches"], [["decimator0", 64]]))
    node        patches
    ----------  -------
    decimator0  64
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
