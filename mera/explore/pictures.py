"""Pictures as a browser takes them."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence

from torch import Tensor

from mera.drawing.images import to_pil


def address_of(picture: Tensor) -> str:
    """A picture as an address that holds it.

    Args:
        picture: the picture, (1 or 3, H, W) uint8.
    """
    file = io.BytesIO()
    to_pil(picture).save(file, format="PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}"


def squares(mask: Tensor) -> str:
    """The pixels of a mask as a drawing on top of a picture, in SVG.

    Args:
        mask: a bool mask (H, W).
    """
    places: Sequence[Sequence[int]] = mask.nonzero().tolist()
    boxes = "".join(f'<rect x="{column}" y="{row}" width="1" height="1"/>' for row, column in places)
    return f'<g fill="#e0218a" fill-opacity="0.6">{boxes}</g>'


def polyline(values: Sequence[float]) -> str:
    """Numbers as a curve that fills 200 x 60 units, in SVG; empty if there are fewer than two.

    Args:
        values: the numbers.
    """
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    height = (high - low) or 1.0
    points = " ".join(
        f"{200 * i / (len(values) - 1):.1f},{58 - 56 * (v - low) / height:.1f}" for i, v in enumerate(values)
    )
    return f'<polyline points="{points}" fill="none" stroke="#c0392b"/>'
