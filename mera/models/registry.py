"""Models by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from mera.flow import Flow, Recipe

__all__ = ["build", "builder", "names", "register"]

Builder = Callable[..., Flow]
_builders: dict[str, Builder] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Let `mera.build(name, **options)` call the decorated function, whose keyword arguments are the options."""

    def decorate(function: Builder) -> Builder:
        if name in _builders:
            raise ValueError(f"Expected a name that is not taken; got {name!r}")
        _builders[name] = function
        return function

    return decorate


def names() -> list[str]:
    """Every name that `build` accepts."""
    return sorted(_builders)


def builder(name: str) -> Builder:
    """The function behind a name.

    Raises:
        ValueError: if the name is unknown.
    """
    if name not in _builders:
        raise ValueError(f"Expected a model among {names()}; got {name!r}{_hint(name, names())}")
    return _builders[name]


def build(name: str, **options: Any) -> Flow:
    """Build a flow by name.

    Args:
        name: one of `names()`.
        options: as the model's own function documents them, `mera.models.rgflow` say.

    Raises:
        ValueError: if the name, an option or the value of one is unknown.

    Example:
        >>> import mera
        >>> flow = mera.build("rgflow", L=8, m=4, channels=1, layers=1, hidden=(8,))
        >>> [tuple(level.shape) for level in flow.sample_latents(2)]
        [(2, 3, 4, 4), (2, 1, 4, 4)]
    """
    function = builder(name)
    known = list(inspect.signature(function).parameters)
    for option in options:
        if option not in known:
            raise ValueError(f"Expected an option of {name!r} among {known}; got {option!r}{_hint(option, known)}")
    flow = function(**options)
    flow.recipe = Recipe(name, dict(options))
    return flow


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
