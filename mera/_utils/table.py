"""Tables: plain text on a terminal, HTML in a notebook; and numbers with their standard errors as text."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; a float is shown with so many `digits` behind the point, a NaN as an empty cell.

    >>> print(Table(["node", "patches", "bits/dim"], [["decimator0", 64, 1.25], ["coarse0", 16, float("nan")]]))
    node        patches  bits/dim
    ----------  -------  --------
    decimator0  64       1.250
    coarse0     16
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    digits: int = 3

    @property
    def cells(self) -> list[list[str]]:
        """The rows as they are shown."""
        return [list(map(self._shown, row)) for row in self.rows]

    def _shown(self, cell: object) -> str:
        """A cell as text."""
        if not isinstance(cell, float):
            return str(cell)
        return "" if math.isnan(cell) else f"{cell:.{self.digits}f}"

    def __str__(self) -> str:
        """Left-aligned columns below a ruled header."""
        cells = [list(self.header), *self.cells]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        )

    def markdown(self) -> str:
        """The table in Markdown.

        >>> print(Table(["node", "patches"], [["decimator0", 64]]).markdown())
        | node | patches |
        | --- | --- |
        | decimator0 | 64 |
        """
        rows = [self.header, ["---"] * len(self.header), *self.cells]
        return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)

    def _repr_html_(self) -> str:
        """The table as HTML for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.cells)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Tabled(ABC):
    """The base class of results that show themselves as a table: as text when printed, as HTML in a notebook."""

    @property
    def legend(self) -> str:
        """The lines below the table."""
        return ""

    @property
    @abstractmethod
    def table(self) -> Table:
        """The result as a table."""

    def __repr__(self) -> str:
        return f"{self.table}\n{self.legend}".rstrip("\n")

    def _repr_html_(self) -> str:
        """The table as HTML for notebooks."""
        return html(self.table, *self.legend.splitlines())


def html(*parts: Table | str | bytes | None) -> str:
    """Tables, lines of text and pictures as HTML, one below the other.

    Args:
        parts: the tables, the texts, and the pictures as PNG, which the first text describes; None is left out.
    """
    alt = next((part.splitlines()[0] for part in parts if isinstance(part, str) and part), "a picture")
    texts = []
    for part in parts:
        if isinstance(part, Table):
            texts.append(part._repr_html_())
        elif isinstance(part, str):
            texts.append(f"<p>{escape(part)}</p>")
        elif part is not None:
            texts.append(f'<img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(part).decode()}">')
    return "".join(texts)


def plus_minus(value: float, error: float, digits: int = 3, sign: bool = False) -> str:
    """A value with its standard error as text, with at least one digit of the error; the value alone if it is NaN.

    >>> plus_minus(2.5, 0.01), plus_minus(2.5, 0.00004), plus_minus(2.5, float("nan"))
    ('2.500 ± 0.010', '2.50000 ± 0.00004', '2.500')
    """
    if 0 < error < 0.5 * 10.0**-digits:
        digits = -math.floor(math.log10(error))
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"
