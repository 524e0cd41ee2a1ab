"""Checks of arguments, shared by all packages. Each check raises an `InputError` for a value that it refuses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError, closest

MAX_LAYERS = 1000
"""The largest number of layers of one kind that are built one after the other."""
MAX_LENGTH = 2**20
"""The largest length of a sequence that is an argument; reading `range(10**9)` would take minutes."""


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of any type, numpy's included, and not a bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Return whether a value is a sequence of a sensible length, and neither text nor bytes."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)) and len(value) <= MAX_LENGTH


def check_type(value: Any, kind: type[Any], what: str) -> Any:
    """Return a value of a type, and refuse any other; messages call it `what`, such as "a flow"."""
    if not isinstance(value, kind):
        raise InputError(what, type(value).__name__)
    return value


def check_choice(word: object, choices: Iterable[str], what: str) -> Any:
    """Return a word if it is one of the choices, and refuse it otherwise; the message offers the closest choice."""
    choices = list(choices)
    if not isinstance(word, str) or word not in choices:
        raise InputError(f"{what} among {choices}", f"{word!r}{closest(word, choices)}")
    return word


def check_count(value: object, what: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """Return an integer from `least` to `most` as a Python int, and refuse any other value."""
    if not is_integer(value) or cast(int, value) < least:
        raise InputError(f"{what} as an integer >= {least}", repr(value))
    if cast(int, value) > most:
        bound = "below 2^31" if most == 2**31 - 1 else f"up to {most:,}"
        raise InputError(f"{what} as an integer {bound}", repr(value)[:60])
    return int(cast(int, value))


def check_flag(value: object, what: str) -> bool:
    """Return a bool, and refuse any other value."""
    if not isinstance(value, bool):
        raise InputError(f"{what} as True or False", repr(value))
    return value


def check_number(value: object, what: str) -> float:
    """Return a finite number as a float, and refuse any other value."""
    number = _as_float(value)
    if not math.isfinite(number):
        raise InputError(f"{what} as a finite number", repr(value))
    return number


def check_positive(value: object, what: str, or_zero: bool = False, most: float = math.inf) -> float:
    """Return a finite positive number up to `most`, or 0 if `or_zero`, as a float, and refuse any other value."""
    number = _as_float(value)
    if not (0 < number <= most or (or_zero and number == 0)) or number == math.inf:
        kind = "number >= 0" if or_zero else "positive number" if most == math.inf else "number above 0"
        raise InputError(f"{what} as a {kind}{'' if most == math.inf else f', up to {most:g}'}", repr(value))
    return number


def _as_float(value: object) -> float:
    """A real number of any type but bool as a float; NaN for any other value."""
    return float(cast(float, value)) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def check_precise(dtype: torch.dtype, what: str) -> None:
    """Refuse dtypes below single precision; `what` is the use of the flow or the fields, in messages."""
    if not dtype.is_floating_point or torch.finfo(dtype).bits < 32:
        raise InputError(f"single or double precision for {what}", str(dtype).removeprefix("torch."))


def check_shape(value: object, what: str, least: int = 1) -> tuple[int, ...]:
    """Return a sequence of `least` to 1,000 positive integers below 2^31 as a tuple, and refuse any other value."""
    sizes = tuple(value) if is_list(value) else ()
    if not least <= len(sizes) <= MAX_LAYERS or not all(is_integer(size) and 0 < size < 2**31 for size in sizes):
        most = f", at most {MAX_LAYERS:,}" if len(sizes) > MAX_LAYERS else ""
        raise InputError(f"{what} as {least} or more positive integers{most}", repr(value)[:80])
    return tuple(int(size) for size in sizes)


def as_plain(value: Any) -> Any:
    """A tensor or an array as Python's numbers and lists, any other value as it is."""
    return value.tolist() if isinstance(value, (Tensor, np.ndarray, np.generic)) else value


def check_tensor(what: str, value: Any, shape: tuple[int, ...], like: Tensor | None, batch: str = "B") -> None:
    """Refuse a value that is not a dense tensor (B, *shape) of the expected dtype and device."""
    if not isinstance(value, Tensor):
        raise InputError(f"{what} as a tensor", type(value).__name__)
    if tuple(value.shape[1:]) != shape or value.ndim != 1 + len(shape):
        sizes, got = ", ".join(map(str, shape)), str(tuple(value.shape))
        if tuple(value.shape) == shape:
            got += "; x[None] is a batch of one"
        elif shape[:1] == (1,) and tuple(value.shape[1:]) == shape[1:]:
            got += "; x[:, None] has the axis of channels"
        elif shape and tuple(value.movedim(-1, 1).shape[1:] if value.ndim == 1 + len(shape) else ()) == shape:
            got += "; x.movedim(-1, 1) has channels first"
        raise InputError(f"{what} of shape ({batch}, {sizes})", got)
    if like is not None and value.device != like.device:
        raise InputError(f"{what} on {like.device}, where the flow is", str(value.device))
    if like is not None and value.dtype != like.dtype:
        mend = "; flow.from_images maps images to the flow's space" if value.dtype == torch.uint8 else ""
        raise InputError(f"{what} of dtype {like.dtype}, as the flow's", f"{value.dtype}{mend}")


def check_latents(what: str, levels: Any, shapes: Sequence[tuple[int, ...]], like: Tensor, batch: str = "B") -> None:
    """Refuse a value that is not a tuple of dense tensors (B, *shape), one for each level, with one batch size."""
    if not isinstance(levels, (tuple, list)) or len(levels) != len(shapes):
        got = f"{len(levels)} tensors" if isinstance(levels, (tuple, list)) else type(levels).__name__
        raise InputError(f"{what} as a tuple of {len(shapes)} tensors, one per level", got)
    for h, (level, shape) in enumerate(zip(levels, shapes, strict=True)):
        check_tensor(f"{what} of level {h}", level, shape, like, batch)
    if len({level.shape[0] for level in levels}) > 1:
        raise InputError("one batch size for all levels", str([level.shape[0] for level in levels]))


def check_window(x: Any, channels: int, dim: int) -> None:
    """Refuse anything but floating-point data without NaN, with these numbers of channels and dimensions."""
    if isinstance(x, Tensor) and (x.ndim != 2 + dim or x.shape[1] != channels):
        raise InputError(f"data of {channels} channels in {dim} dimensions, (B, C, ...)", str(tuple(x.shape)))
    check_tensor("data", x, tuple(x.shape[1:]) if isinstance(x, Tensor) else (), None)
    if not x.is_floating_point():
        raise InputError("data as floats, in the flow's own space", str(x.dtype))
    if x.isnan().any():
        raise InputError("data without NaN", f"{int(x.isnan().sum())} values that are NaN")
