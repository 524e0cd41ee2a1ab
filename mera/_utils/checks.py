"""Checks of what a user passes, which every part of the library makes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, cast

import torch
from torch import Tensor

from mera._utils.errors import InputError

__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_images",
    "check_interval",
    "check_levels",
    "check_noise",
    "check_positive",
    "check_tensor",
    "check_window",
    "is_integer",
]


def is_integer(value: object) -> bool:
    """Whether `value` counts something: any integer type, but no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_choice(word: object, choices: Iterable[str], what: str) -> Any:
    """The word itself, if it is one of the choices.

    Raises:
        InputError: if it is not; the message offers the closest choice.
    """
    choices = list(choices)
    if not isinstance(word, str) or word not in choices:
        lower = {str(choice).lower(): choice for choice in choices}
        close = difflib.get_close_matches(str(word).lower(), lower, n=1)
        hint = f" (did you mean {lower[close[0]]!r}?)" if close else ""
        raise InputError(f"{what} among {choices}", f"{word!r}{hint}")
    return word


def check_count(value: object, what: str, least: int = 1) -> int:
    """The value as Python's integer, if it is an integer from `least` on, below 2^31.

    Raises:
        InputError: if it is not.
    """
    if not is_integer(value) or cast(int, value) < least:
        raise InputError(f"{what} as an integer >= {least}", f"{value!r}")
    if cast(int, value) >= 2**31:
        raise InputError(f"{what} as an integer below 2^31", f"{value!r}")
    return int(cast(int, value))


def check_flag(value: object, what: str) -> bool:
    """The value itself, if it is a bool.

    Raises:
        InputError: if it is neither.
    """
    if not isinstance(value, bool):
        raise InputError(f"{what} as True or False", f"{value!r}")
    return value


def check_interval(value: object, what: str, low: float, high: float) -> float:
    """The number itself, if it lies above `low` and not above `high`.

    Raises:
        InputError: if it does not.
    """
    if not _is_number(value) or not low < float(cast(float, value)) <= high:
        raise InputError(f"{what} as a number above {low:g}, up to {high:g}", f"{value!r}")
    return float(cast(float, value))


def check_positive(value: object, what: str, or_zero: bool = False) -> float:
    """The number itself, if it is finite and above 0, or with `or_zero` not below.

    Raises:
        InputError: if it is not.
    """
    number = float(cast(float, value)) if _is_number(value) else math.nan
    if not (0 < number < math.inf or (or_zero and number == 0)):
        raise InputError(f"{what} as a {'number >= 0' if or_zero else 'positive number'}", f"{value!r}")
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_tensor(what: str, value: Any, shape: tuple[int, ...], like: Tensor | None, batch: str = "B") -> None:
    """Refuse what is not a batch of dense tensors of one shape, dtype and device.

    Args:
        what: the name of the value in messages.
        value: what a user passed.
        shape: the shape of one member of the batch.
        like: a tensor of the dtype and on the device that are expected; any will do if None.
        batch: the letter that stands for the size of the batch in messages.

    Raises:
        InputError: on any mismatch.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{what} as a tensor", f"{type(value).__name__}")
    if value.layout != torch.strided:
        raise InputError(f"{what} as a dense tensor", f"one of layout {value.layout}")
    if tuple(value.shape[1:]) != shape or value.ndim != 1 + len(shape):
        sizes = ", ".join(map(str, shape))
        raise InputError(f"{what} of shape ({batch}, {sizes})", f"{tuple(value.shape)}")
    if like is not None and value.device != like.device:
        raise InputError(f"{what} on {like.device}, where the flow is", f"{value.device}")
    if like is not None and value.dtype != like.dtype:
        raise InputError(f"{what} of dtype {like.dtype}, as the flow's", f"{value.dtype}")


def check_levels(what: str, levels: Any, shapes: Sequence[tuple[int, ...]], like: Tensor, batch: str = "B") -> None:
    """Refuse what is not a tuple of batches, one for each level, all of one size.

    Args:
        what: the name of the tuple in messages.
        levels: what a user passed.
        shapes: for each level the shape of one member of the batch.
        like: a tensor of the dtype and on the device that are expected.
        batch: the letter that stands for the size of the batch in messages.

    Raises:
        InputError: on any mismatch.
    """
    if not isinstance(levels, (tuple, list)) or len(levels) != len(shapes):
        got = f"{len(levels)} tensors" if isinstance(levels, (tuple, list)) else type(levels).__name__
        raise InputError(f"{what} as a tuple of {len(shapes)} tensors, one per level", f"{got}")
    for h, (level, shape) in enumerate(zip(levels, shapes, strict=True)):
        check_tensor(f"{what} of level {h}", level, shape, like, batch)
    if len({level.shape[0] for level in levels}) > 1:
        raise InputError("one batch size for all levels", f"{[level.shape[0] for level in levels]}")


def check_images(images: Any, shape: tuple[int, ...], device: torch.device) -> None:
    """Refuse what is not a batch of uint8 images of one shape on one device.

    Raises:
        InputError: on any mismatch.
    """
    check_tensor("images", images, shape, None)
    if images.dtype != torch.uint8:
        raise InputError("images of dtype uint8", str(images.dtype))
    if images.device != device:
        raise InputError(f"images on {device}, where the flow is", str(images.device))


def check_noise(noise: Any, images: Tensor) -> None:
    """Refuse noise that does not dequantise images: floats of their shape in [0, 1).

    The numbers are looked at on the CPU only: elsewhere a look would wait for the device.

    Raises:
        InputError: on any mismatch.
    """
    check_tensor("noise", noise, tuple(images.shape[1:]), None)
    if noise.shape != images.shape or not noise.is_floating_point():
        raise InputError(f"noise of shape {tuple(images.shape)}, floats", f"{tuple(noise.shape)}, {noise.dtype}")
    is_cheap_to_read = noise.device.type == "cpu" and not torch.compiler.is_compiling()
    if is_cheap_to_read and noise.numel() and not 0 <= noise.min() <= noise.max() < 1:
        raise InputError("noise in [0, 1)", f"{noise.min().item():g} to {noise.max().item():g}")


def check_window(x: Any, channels: int, dim: int) -> None:
    """Refuse what is not data of a flow, or a window of it, of which images can be made.

    Raises:
        InputError: if it has another number of channels or dimensions, holds no floats, or is NaN somewhere.
    """
    if not isinstance(x, Tensor) or x.ndim != 2 + dim or x.shape[1] != channels:
        got = str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"data of {channels} channels in {dim} dimensions, (B, C, ...)", got)
    if not x.is_floating_point():
        raise InputError("data as floats, in the flow's own space", str(x.dtype))
    if x.isnan().any():
        raise InputError("data without NaN", f"{int(x.isnan().sum())} values that are NaN")
