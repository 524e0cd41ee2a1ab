"""What notebooks ask of results. Pictures are made by the folder `drawing`, which results do not import."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from importlib import import_module

from mera._utils.table import Table

__all__ = ["Pictured", "html", "picture_of"]


class Pictured:
    """The base class of results of which `mera.drawing.notebook` knows a picture."""

    def _repr_png_(self) -> bytes | None:
        """The picture as a PNG, which notebooks ask for; None if there is none."""
        return picture_of(self)


def picture_of(result: object) -> bytes | None:
    """The picture of a result as a PNG; None if there is none.

    Args:
        result: a result that `mera.drawing.notebook` knows.
    """
    return import_module("mera.drawing.notebook").picture_of(result)


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
