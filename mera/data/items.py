"""One item of a data set of any kind: its example as a tensor, and its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mera._utils.errors import InputError

EXAMPLE_KEYS = ("image", "img", "pixel_values", "field", "x")
"""Names under which items that are dicts have their example; else it is the first entry."""
LABEL_KEYS = ("label", "labels", "fine_label", "class", "context", "y")
"""Names under which items that are dicts have their label."""


def example_of(item: Any, shape: Sequence[int] | None = None) -> Tensor:
    """The example of an item, (C, *sites).

    Args:
        item: a tensor, an array or an image of PIL; a tuple that starts with one; or a dict with one.
        shape: the shape that is expected; images of PIL are converted to its number of channels.

    Raises:
        ValueError: if the item holds no example.
    """
    value = item
    if isinstance(item, Mapping):
        key = key_of(item, EXAMPLE_KEYS) or next(iter(item), None)
        value = None if key is None else item[key]
    elif isinstance(item, (tuple, list)) and len(item):
        value = item[0]
    if isinstance(value, Image.Image):
        return pixels_of(value, None if shape is None else shape[0])
    try:
        example = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise InputError("items that are examples, or tuples or dicts with one", repr(item)[:80]) from error
    if shape is not None and example.ndim == len(shape) - 1 and shape[0] == 1:
        return example[None]
    return example


def label_of(item: Any) -> Any:
    """The label of an item: the second entry of a tuple, or an entry of a dict; None if there is none.

    Args:
        item: the item.
    """
    if isinstance(item, Mapping):
        key = key_of(item, LABEL_KEYS)
        return None if key is None else item[key]
    return item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None


def key_of(names: Any, candidates: Sequence[str]) -> str | None:
    """The first candidate that is in `names`; None if none is.

    Args:
        names: the names to search, such as a dict.
        candidates: the names to look for, in order.
    """
    return next((name for name in candidates if name in names), None)


def pixels_of(image: Image.Image, channels: int | None) -> Tensor:
    """An image of PIL as uint8 (channels, H, W); 16 bits per value are scaled to 8.

    Args:
        image: the image.
        channels: 1 to convert it to grey, 3 to colour; None to leave it as it is.

    Raises:
        ValueError: if its values are of no known range.
    """
    from torchvision.transforms.v2.functional import pil_to_tensor

    image = _eight_bits(ImageOps.exif_transpose(image))  # upright, as cameras say
    mode = {1: "L", 3: "RGB"}.get(channels or 0)
    return pil_to_tensor(image if mode is None or image.mode == mode else image.convert(mode))


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits per value scaled to 8 bits; PIL itself would cut off all values above 255."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its values are of no known range")
    return image
