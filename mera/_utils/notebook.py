"""Tables, texts and pictures as HTML for notebooks."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from mera._utils.table import Table


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
