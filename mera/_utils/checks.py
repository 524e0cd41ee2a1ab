"""Checks of arguments, which all parts of the library share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, cast

import torch
from torch import Tensor

from mera._utils.errors import InputError, closest


def is_integer(value: object) -> bool:
    """Whether a value is an integer of any type, numpy's included, but no bool.

    Args:
        value: the value.
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_choice(word: object, choices: Iterable[str], what: str) -> Any:
    """Return a word if it is one of the choices, and refuse it otherwise.

    Args:
        word: the argument as it was passed.
        choices: the words that are accepted.
        what: what messages call the word, with an article.

    Raises:
        InputError: if the word is not among the choices; the message offers the closest choice.
    """
    choices = list(choices)
    if not isinstance(word, str) or word not in choices:
        raise InputError(f"{what} among {choices}", f"{word!r}{closest(word, choices)}")
    return word


def check_count(value: object, what: str, least: int = 1) -> int:
    """Return an integer that is at least `least` and below 2^31 as Python's int, and refuse any other value.

    Args:
        value: the argument as it was passed.
        what: what messages call the value.
        least: the smallest integer that is accepted.

    Raises:
        InputError: if the value is no integer, or out of the range.
    """
    if not is_integer(value) or cast(int, value) < least:
        raise InputError(f"{what} as an integer >= {least}", f"{value!r}")
    if cast(int, value) >= 2**31:
        raise InputError(f"{what} as an integer below 2^31", f"{value!r}")
    return int(cast(int, value))


def check_flag(value: object, what: str) -> bool:
    """Return a bool, and refuse any other value.

    Args:
        value: the argument as it was passed.
        what: what messages call the value.

    Raises:
        InputError: if the value is neither True nor False.
    """
    if not isinstance(value, bool):
        raise InputError(f"{what} as True or False", f"{value!r}")
    return value


def check_interval(value: object, what: str, low: float, high: float) -> float:
    """Return a number in the interval (low, high] as a float, and refuse any other value.

    Args:
        value: the argument as it was passed.
        what: what messages call the value.
        low: the lower end of the interval, which is not accepted.
        high: the upper end of the interval, which is accepted.

    Raises:
        InputError: if the value is no number, or outside of the interval.
    """
    if not _is_number(value) or not low < float(cast(float, value)) <= high:
        raise InputError(f"{what} as a number above {low:g}, up to {high:g}", f"{value!r}")
    return float(cast(float, value))


def check_number(value: object, what: str) -> float:
    """Return a finite number as a float, and refuse any other value.

    Args:
        value: the argument as it was passed.
        what: what messages call the value.

    Raises:
        InputError: if the value is no number, or not finite.
    """
    if not _is_number(value) or not math.isfinite(float(cast(float, value))):
        raise InputError(f"{what} as a finite number", f"{value!r}")
    return float(cast(float, value))


def check_positive(value: object, what: str, or_zero: bool = False) -> float:
    """Return a finite positive number as a float, and refuse any other value.

    Args:
        value: the argument as it was passed.
        what: what messages call the value.
        or_zero: whether 0 is accepted too.

    Raises:
        InputError: if the value is no number, or out of the range.
    """
    number = float(cast(float, value)) if _is_number(value) else math.nan
    if not (0 < number < math.inf or (or_zero and number == 0)):
        raise InputError(f"{what} as a {'number >= 0' if or_zero else 'positive number'}", f"{value!r}")
    return number


def _is_number(value: object) -> bool:
    """Whether a value is a real number of any type, but no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_tensor(what: str, value: Any, shape: tuple[int, ...], like: Tensor | None, batch: str = "B") -> None:
    """Refuse a value that is not a dense tensor (B, *shape) of the expected dtype and device.

    Args:
        what: what messages call the value.
        value: the argument as it was passed.
        shape: the expected shape without the batch axis.
        like: a tensor with the expected dtype and device; None if any dtype and device will do.
        batch: the letter that stands for the size of the batch in messages.

    Raises:
        InputError: if the value is no dense tensor, or its shape, dtype or device is another.
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
    """Refuse a value that is not a tuple of dense tensors (B, *shape), one for each level, with one batch size.

    Args:
        what: what messages call the tuple.
        levels: the argument as it was passed.
        shapes: for each level the expected shape without the batch axis.
        like: a tensor with the expected dtype and device.
        batch: the letter that stands for the size of the batch in messages.

    Raises:
        InputError: if the number of levels, or the shape, dtype or device of one is another, or batch sizes differ.
    """
    if not isinstance(levels, (tuple, list)) or len(levels) != len(shapes):
        got = f"{len(levels)} tensors" if isinstance(levels, (tuple, list)) else type(levels).__name__
        raise InputError(f"{what} as a tuple of {len(shapes)} tensors, one per level", f"{got}")
    for h, (level, shape) in enumerate(zip(levels, shapes, strict=True)):
        check_tensor(f"{what} of level {h}", level, shape, like, batch)
    if len({level.shape[0] for level in levels}) > 1:
        raise InputError("one batch size for all levels", f"{[level.shape[0] for level in levels]}")


def check_images(images: Any, shape: tuple[int, ...], device: torch.device) -> None:
    """Refuse a value that is not a batch of uint8 images (B, *shape) on the expected device.

    Args:
        images: the argument as it was passed.
        shape: the expected shape of one image.
        device: the expected device.

    Raises:
        InputError: if the value is no dense tensor, or its shape, dtype or device is another.
    """
    check_tensor("images", images, shape, None)
    if images.dtype != torch.uint8:
        raise InputError("images of dtype uint8", str(images.dtype))
    if images.device != device:
        raise InputError(f"images on {device}, where the flow is", str(images.device))


def check_noise(noise: Any, images: Tensor) -> None:
    """Refuse noise that cannot dequantise images: it must be floats in [0, 1) of the same shape as the images.

    The range is checked on the CPU only, since reading numbers from another device waits for that device.

    Args:
        noise: the argument as it was passed.
        images: the images, (B, C, *shape).

    Raises:
        InputError: if the noise is no dense tensor of floats of that shape, or out of the range.
    """
    check_tensor("noise", noise, tuple(images.shape[1:]), None)
    if noise.shape != images.shape or not noise.is_floating_point():
        raise InputError(f"noise of shape {tuple(images.shape)}, floats", f"{tuple(noise.shape)}, {noise.dtype}")
    is_cheap_to_read = noise.device.type == "cpu" and not torch.compiler.is_compiling()
    if is_cheap_to_read and noise.numel() and not 0 <= noise.min() <= noise.max() < 1:
        raise InputError("noise in [0, 1)", f"{noise.min().item():g} to {noise.max().item():g}")


def check_window(x: Any, channels: int, dim: int) -> None:
    """Refuse a value that is not data of a flow, or a window of such data, from which images can be made.

    Args:
        x: the argument as it was passed.
        channels: the number of channels of the flow's data.
        dim: the number of dimensions of the flow's lattice.

    Raises:
        InputError: if the value has another number of channels or dimensions, holds no floats, or is NaN somewhere.
    """
    if not isinstance(x, Tensor) or x.ndim != 2 + dim or x.shape[1] != channels:
        got = str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"data of {channels} channels in {dim} dimensions, (B, C, ...)", got)
    if not x.is_floating_point():
        raise InputError("data as floats, in the flow's own space", str(x.dtype))
    if x.isnan().any():
        raise InputError("data without NaN", f"{int(x.isnan().sum())} values that are NaN")
