"""The gate for arrays of examples and labels: what cannot be learnt is refused, with the line that mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError

AS_IMAGES = "mera.data.as_images(examples) converts them"
"""The advice for numbers that are pixels, but not uint8 images (C, H, W)."""


def check_array(array: Any, what: str = "examples") -> Any:
    """Refuse anything but a dense tensor or array (N, ...) of real numbers, and NaN in an array in memory.

    Raises:
        ValueError: with a line that mends the array, or the index of the first example that is not finite.
    """
    if hasattr(array, "to_numpy") and hasattr(array, "columns"):
        raise InputError(f"{what} as an array", "a DataFrame: pass frame.to_numpy() in the shape (N, C, *shape)")
    if not isinstance(array, (Tensor, np.ndarray)):
        raise InputError(f"{what} as a tensor or an array", f"{type(array).__name__} {str(array)[:40]!r}")
    if isinstance(array, Tensor) and (array.layout != torch.strided or array.is_meta or array.is_complex()):
        kind = "meta" if array.is_meta else "complex" if array.is_complex() else str(array.layout)
        raise InputError(f"{what} as a dense tensor of real numbers", f"a {kind} tensor")
    if isinstance(array, np.ndarray) and array.dtype.kind not in "buif":
        mend = ": np.stack(list(array)) makes one array of equal arrays" if array.dtype == object else ""
        raise InputError(f"{what} of numbers", f"an array of dtype {array.dtype}{mend}")
    if isinstance(array, np.ndarray) and (not array.dtype.isnative or array.dtype.itemsize > 8):
        got = f"an array of dtype {array.dtype.str}: array.astype(float) converts it"
        raise InputError(f"{what} of a dtype that torch has", got)
    if not array.ndim:
        raise InputError(f"{what} with an axis for the examples, (N, ...)", "a single number")
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
    """Return labels by name, and refuse anything but tensors with an entry for each of n examples."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise InputError('labels by name, such as {"class": numbers}', type(labels).__name__)
    for name, values in labels.items():
        if not isinstance(values, Tensor):
            raise InputError(f"labels {name!r} as a tensor", type(values).__name__)
        if not values.ndim or len(values) != n:
            raise InputError(f"labels {name!r} for each of {n} examples", f"labels of shape {tuple(values.shape)}")
    return dict(labels)


def check_example(example: Tensor, shape: Sequence[int]) -> None:
    """Refuse an example that is neither a uint8 image nor a field of floats of the flow's shape (C, *sites).

    Raises:
        ValueError: with the line that mends the examples.
    """
    expected, found = tuple(shape), tuple(example.shape)
    if found != expected:
        got = str(found)
        if _is_channels_last(example, expected):
            last = len(expected)
            got += (
                f", channels last: examples.transpose(0, {last}, {', '.join(map(str, range(1, last)))}) of an array, "
            )
            got += f"permute of a tensor; or {AS_IMAGES}"
        raise InputError(f"examples of shape {expected}, as the flow's", got)
    if example.dtype != torch.uint8 and not example.is_floating_point():
        largest = example.to(torch.int64).max().item() if example.numel() else 0
        is_pixels = example.dtype in (torch.uint16, torch.bool) or largest <= 255
        mend = AS_IMAGES if is_pixels else "for fields, convert them by .float()"
        raise InputError("examples that are uint8 images or fields of floats", f"{example.dtype}: {mend}")


def _is_channels_last(example: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether an example has its channels along the last axis."""
    return len(shape) > 1 and tuple(example.shape) == (*shape[1:], shape[0])
