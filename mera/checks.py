"""Checks of what a user passes, which every part of the library makes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral
from typing import Any

__all__ = ["is_integer", "one_of"]


def is_integer(value: object) -> bool:
    """Whether `value` counts something: any integer type, but no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def one_of(word: object, known: Iterable[str], what: str) -> Any:
    """The word itself, if it is known.

    Raises:
        ValueError: if it is not; the message offers the closest.
    """
    known = list(known)
    if word not in known:
        lower = {str(candidate).lower(): candidate for candidate in known}
        close = difflib.get_close_matches(str(word).lower(), lower, n=1)
        hint = f" (did you mean {lower[close[0]]!r}?)" if close else ""
        raise ValueError(f"Expected {what} among {known}; got {word!r}{hint}")
    return word
