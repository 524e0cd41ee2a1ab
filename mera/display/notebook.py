"""Notebook representations: HTML of tables, and pictures, drawn by a painter that `mera` registers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from html import escape

from mera.display.table import Table

Painter = Callable[[object], "bytes | None"]
"""A function from a result to its picture as a PNG; None for a result without a picture."""

_load_painter: list[Callable[[], Painter]] = []


def register_painter(load: Callable[[], Painter]) -> None:
    """Set the function that draws results in notebooks; it replaces an earlier function.

    Args:
        load: returns the function; called when a picture is drawn, so that matplotlib is imported only then.
    """
    _load_painter[:] = [load]


def picture_of(result: object) -> bytes | None:
    """The picture of a result as a PNG; None without a painter, or if the painter cannot draw such a result."""
    return _load_painter[0]()(result) if _load_painter else None


class Pictured:
    """The base class of results that notebooks show as a picture."""

    def _repr_png_(self) -> bytes | None:
        """The picture as a PNG for notebooks; None for a result without a picture."""
        return picture_of(self)


def html(*parts: Table | str | bytes | None) -> str:
    """Tables, lines of text and pictures as HTML, one below the other.

    Args:
        parts: the tables, the texts, and the pictures as PNG; None is left out.
    """
    texts = []
    for part in parts:
        if isinstance(part, Table):
            texts.append(part._repr_html_())
        elif isinstance(part, str):
            texts.append(f"<p>{escape(part)}</p>")
        elif part is not None:
            texts.append(f'<img src="data:image/png;base64,{b64encode(part).decode()}">')
    return "".join(texts)
