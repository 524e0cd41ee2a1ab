"""Checks of what a user passes, which every part of the library makes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, cast

from torch import Tensor

__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_interval",
    "check_levels",
    "check_positive",
    "check_tensor",
    "is_integer",
]


def is_integer(value: object) -> bool:
    """Whether `value` counts something: any integer type, but no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_choice(word: object, known: Iterable[str], what: str) -> Any:
    """The word itself, if it is known.

    Raises:
        ValueError: if it is not; the message offers the closest.
    """
    known = list(known)
    if not isinstance(word, str) or word not in known:
        lower = {str(candidate).lower(): candidate for candidate in known}
        close = difflib.get_close_matches(str(word).lower(), lower, n=1)
        hint = f" (did you mean {lower[close[0]]!r}?)" if close else ""
        raise ValueError(f"Expected {what} among {known}; got {word!r}{hint}")
    return word


def check_count(value: object, what: str, least: int = 1) -> int:
    """The number itself, if it counts something, from `least` on.

    Raises:
        ValueError: if it does not.
    """
    if not is_integer(value) or not least <= cast(int, value) < 2**31:
        raise ValueError(f"Expected {what} as an integer >= {least}; got {value!r}")
    return int(cast(int, value))


def check_flag(value: object, what: str) -> bool:
    """The value itself, if it is a bool.

    Raises:
        ValueError: if it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"Expected {what} as True or False; got {value!r}")
    return value


def check_interval(value: object, what: str, low: float, high: float) -> float:
    """The number itself, if it lies above `low` and not above `high`.

    Raises:
        ValueError: if it does not.
    """
    if not _is_number(value) or not low < float(cast(float, value)) <= high:
        raise ValueError(f"Expected {what} as a number above {low:g}, up to {high:g}; got {value!r}")
    return float(cast(float, value))


def check_positive(value: object, what: str, or_zero: bool = False) -> float:
    """The number itself, if it is finite and above 0, or with `or_zero` not below.

    Raises:
        ValueError: if it is not.
    """
    number = float(cast(float, value)) if _is_number(value) else math.nan
    if not (0 < number < math.inf or (or_zero and number == 0)):
        raise ValueError(f"Expected {what} as a {'number >= 0' if or_zero else 'positive number'}; got {value!r}")
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_tensor(what: str, value: Any, shape: tuple[int, ...], like: Tensor | None, batch: str = "B") -> None:
    """Refuse what is not a batch of things of this shape; and, with `like`, of its dtype and device.

    Raises:
        ValueError: on any mismatch.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"Expected {what} as a tensor; got {type(value).__name__}")
    if tuple(value.shape[1:]) != shape or value.ndim != 1 + len(shape):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"Expected {what} of shape ({batch}, {wanted}); got {tuple(value.shape)}")
    if like is not None and value.device != like.device:
        raise ValueError(f"Expected {what} on {like.device}, where the flow is; got {value.device}")
    if like is not None and value.dtype != like.dtype:
        raise ValueError(f"Expected {what} of dtype {like.dtype}, as the flow's; got {value.dtype}")


def check_levels(what: str, levels: Any, shapes: Sequence[tuple[int, ...]], like: Tensor, batch: str = "B") -> None:
    """Refuse what is not a tuple of batches of these shapes, one per level and all of one size.

    Raises:
        ValueError: on any mismatch.
    """
    if not isinstance(levels, (tuple, list)) or len(levels) != len(shapes):
        got = f"{len(levels)} tensors" if isinstance(levels, (tuple, list)) else type(levels).__name__
        raise ValueError(f"Expected {what} as a tuple of {len(shapes)} tensors, one per level; got {got}")
    for h, (level, shape) in enumerate(zip(levels, shapes, strict=True)):
        check_tensor(f"{what} of level {h}", level, shape, like, batch)
    if len({level.shape[0] for level in levels}) > 1:
        raise ValueError(f"Expected one batch size for all levels; got {[level.shape[0] for level in levels]}")
