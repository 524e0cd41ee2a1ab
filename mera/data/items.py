"""The example and the label of one item of a data set of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mera._utils.errors import InputError

EXAMPLE_KEYS = ("image", "img", "pixel_values", "field", "x")
"""Keys of the example in items that are dicts; without such a key, the first entry is the example."""
LABEL_KEYS = ("label", "labels", "fine_label", "class", "context", "y")
"""Keys of the label in items that are dicts."""


def example_of(item: Any, shape: Sequence[int] | None = None) -> Tensor:
    """The example of an item, (C, *sites).

    Args:
        item: an example, that is a tensor, an array or a PIL image; or a tuple that starts with it, or a dict with it.
        shape: the expected shape; PIL images are converted to its number of channels.
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
    """The label of an item: the second entry of a tuple, or an entry of a dict; None if there is none."""
    if isinstance(item, Mapping):
        key = key_of(item, LABEL_KEYS)
        return None if key is None else item[key]
    return item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None


def key_of(names: Any, candidates: Sequence[str]) -> str | None:
    """The first of the candidates that is in `names`; None if there is no such candidate."""
    return next((name for name in candidates if name in names), None)


def pixels_of(image: Image.Image, channels: int | None) -> Tensor:
    """Convert a PIL image to uint8 (channels, H, W); 16 bits per value are scaled to 8.

    Args:
        channels: 1 to convert the image to grey, 3 to colour; None for grey if it has no colours.

    Raises:
        ValueError: if the range of its values is unknown.
    """
    from torchvision.transforms.v2.functional import pil_to_tensor

    image = _eight_bits(ImageOps.exif_transpose(image))  # upright, by the EXIF orientation
    mode = {1: "L", 3: "RGB"}.get(channels or 0, "L" if image.mode in {"1", "L", "LA"} else "RGB")
    return pil_to_tensor(image if image.mode == mode else image.convert(mode))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale an image from 16 to 8 bits per value; PIL itself would clip all values above 255."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise InputError("an image of 8 or 16 bits per value", "one of floating-point values of unknown range")
    return image
