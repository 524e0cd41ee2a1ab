"""Pictures as elements of a page, data URLs and SVG."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence

from nicegui import ui
from torch import Tensor

from mera.analysis.drawing.images import to_pil


def picture_element(label: str, width: int, picture: Tensor | None = None) -> ui.interactive_image:
    """Add a picture, (1 or 3, H, W) uint8, to the page; `label` is for screen readers, `width` in units of 0.25 rem."""
    source = "" if picture is None else address_of(picture)
    # What is drawn on pictures is mera's own: a sanitizer, loaded while the picture may already be gone, is not needed.
    element = ui.interactive_image(source, sanitize=False)
    return element.classes(f"picture w-{width}").props(f'role="img" aria-label="{label}"')


def address_of(picture: Tensor) -> str:
    """Encode a picture, (1 or 3, H, W) uint8, as a data URL."""
    file = io.BytesIO()
    to_pil(picture).save(file, format="PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}"


def squares(mask: Tensor) -> str:
    """Draw the pixels of a bool mask (H, W) as SVG squares, on top of a picture."""
    places: Sequence[Sequence[int]] = mask.nonzero().tolist()
    boxes = "".join(f'<rect x="{column}" y="{row}" width="1" height="1"/>' for row, column in places)
    return f'<g fill="#e0218a" fill-opacity="0.6">{boxes}</g>'
