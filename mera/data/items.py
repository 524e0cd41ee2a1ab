"""The example and the label of an item of any data set; and checks of arrays, labels and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mera._utils.errors import InputError

EXAMPLE_KEYS = ("image", "images", "img", "pixel_values", "field", "fields", "x", "data")
"""Keys of the example in items that are dicts, whose first entry is the example without such a key; and of files."""
LABEL_KEYS = ("label", "labels", "fine_label", "class", "context", "y")
"""Keys of the label in items that are dicts, and of files of arrays."""
GREYS = {"L;2": 85, "L;4": 17}
"""From the raw mode of greys of a few bits in PIL to the factor by which it scales them."""
AS_IMAGES = "mera.data.as_images(examples) converts them"
"""The advice for numbers that are pixels, but not uint8 images (C, H, W)."""


def example_of(item: Any, shape: Sequence[int] | None = None) -> Tensor:
    """The example of an item, (C, *sites)."""
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
    """The label of an item: the second entry of a tuple, or an entry of a dict; None without a label."""
    if isinstance(item, Mapping):
        key = key_of(item, LABEL_KEYS)
        return None if key is None else item[key]
    return item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None


def key_of(names: Any, candidates: Sequence[str]) -> str | None:
    """The first candidate that is in `names`, or None."""
    return next((name for name in candidates if name in names), None)


@contextmanager
def opened(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """Open the file of a picture; its pixels are read later.

    PIL gets no path: it would map an uncompressed TIFF file into memory, and garbles one that is turned by a quarter.
    It scales greys of 2 and 4 bits to 8, but not the transparent one.
    """
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as content, Image.open(content) as image:
        factor = next((GREYS.get(str(tile[3])) for tile in getattr(image, "tile", [])), None)
        if factor is not None and isinstance(image.info.get("transparency"), int):
            image.info["transparency"] *= factor
        yield image


def pixels_of(image: Image.Image, channels: int | None) -> Tensor:
    """Convert a PIL image to uint8 (channels, H, W): 16 bits are scaled to 8, and transparent pixels are white.

    Args:
        channels: 1 to convert the image to grey, 3 to colour; None for grey if it has no colours.
    """
    image = _on_white(_eight_bits(ImageOps.exif_transpose(image)))  # upright, by the EXIF orientation
    mode = {1: "L", 3: "RGB"}.get(channels or 0, "L" if image.mode in {"1", "L", "LA"} else "RGB")
    return torch.from_numpy(np.array(image.convert(mode))).view(image.height, image.width, -1).movedim(2, 0)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale an image from 16 to 8 bits per value; PIL itself would clip all values above 255."""
    if (values := sixteen_bits(image)) is not None:
        transparent = values == image.info.get("transparency", -1)
        return Image.fromarray(np.where(transparent, 255, (values / 257).round()).astype(np.uint8))
    if image.mode == "F":
        raise InputError("an image of 8 or 16 bits per value", "one of floating-point values of unknown range")
    return image


def sixteen_bits(image: Image.Image) -> np.ndarray | None:
    """The values of a grey image of 16 bits, (H, W) uint16; None for other images."""
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return None
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError("an image of 8 or 16 bits per value", f"values from {values.min()} to {values.max()}")
    return values.astype(np.uint16)


def _on_white(image: Image.Image) -> Image.Image:
    """The image in front of white, where it is transparent."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of 16 bits, of which PIL keeps the upper 8
        image.info["transparency"] = tuple(value >> 8 for value in key)
    is_grey = image.mode in {"1", "L", "LA"}
    colours = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    return flat.convert("L" if is_grey else "RGB")


def check_array(array: Any, what: str = "examples") -> Any:
    """Refuse anything but a dense tensor or array (N, ...) of real numbers, and NaN in an array in memory."""
    if not isinstance(array, (Tensor, np.ndarray)):
        raise InputError(f"{what} as a tensor or an array", f"{type(array).__name__} {str(array)[:40]!r}")
    if isinstance(array, Tensor) and (array.layout != torch.strided or array.is_meta or array.is_complex()):
        kind = "meta" if array.is_meta else "complex" if array.is_complex() else str(array.layout)
        raise InputError(f"{what} as a dense tensor of real numbers", f"a {kind} tensor")
    if isinstance(array, np.ndarray) and array.dtype.kind not in "buif":
        mend = ": np.stack(list(array)) makes one array of equal arrays" if array.dtype == object else ""
        raise InputError(f"{what} of numbers", f"an array of dtype {array.dtype}{mend}")
    is_large = isinstance(array, np.memmap)  # whose examples are checked as they are read
    if not is_large and (array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"):
        values = array if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))
        wrong = ~values.flatten(1).isfinite().all(1) if values.ndim > 1 else ~values.isfinite()
        if wrong.any():
            _refuse_not_finite(int(wrong.nonzero()[0]), what)
    return array


def check_finite(example: Tensor, index: int) -> Tensor:
    """Return an example, and refuse one of floats that are infinite or NaN, by its index."""
    if example.is_floating_point() and not example.isfinite().all():
        _refuse_not_finite(index, "examples")
    return example


def _refuse_not_finite(index: int, what: str) -> None:
    raise InputError(f"finite {what}", f"infinite values or NaN in the one with index {index}")


def check_labels(labels: Any, n: int) -> dict[str, Tensor]:
    """Return labels by name as tensors, and refuse any without an entry for each of n examples.

    Args:
        labels: labels by name, or alone: "class" is then the name of integers, "context" that of floats. None for none.
    """
    if not isinstance(labels, Mapping):
        values = labels if isinstance(labels, Tensor) or labels is None else np.asarray(labels)
        if isinstance(values, np.ndarray):
            if values.dtype.kind not in "buif":
                raise InputError(
                    "labels as numbers; np.unique(labels, return_inverse=True) numbers names", str(labels)[:60]
                )
            values = torch.as_tensor(values)
        labels = {} if values is None else {"context" if values.is_floating_point() else "class": values}
    tensors = {name: torch.as_tensor(values) for name, values in labels.items()}
    for name, values in tensors.items():
        if not values.ndim or len(values) != n:
            raise InputError(f"labels {name!r} for each of {n} examples", f"labels of shape {tuple(values.shape)}")
    return tensors


def check_example(example: Tensor, shape: Sequence[int]) -> None:
    """Refuse an example that is neither a uint8 image nor a field of floats of the flow's shape (C, *sites)."""
    expected, actual = tuple(shape), tuple(example.shape)
    if actual != expected:
        is_last = len(expected) > 1 and actual == (*expected[1:], expected[0])
        mend = f", channels last: movedim or np.moveaxis moves them, or {AS_IMAGES}" if is_last else ""
        raise InputError(f"examples of shape {expected}, as the flow's", f"{actual}{mend}")
    if example.dtype != torch.uint8 and not example.is_floating_point():
        largest = example.to(torch.int64).max().item() if example.numel() else 0
        is_pixels = example.dtype in (torch.uint16, torch.bool) or largest <= 255
        mend = AS_IMAGES if is_pixels else "for fields, convert them by .float()"
        raise InputError("examples that are uint8 images or fields of floats", f"{example.dtype}: {mend}")
