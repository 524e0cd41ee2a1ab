"""Bijectors by name, for layouts in files, command lines, and whoever has a bijector of their own to offer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mera._utils.checks import check_choice
from mera._utils.registry import Registry, plain
from mera.bijectors.base import Bijector

__all__ = ["BijectorFactory", "Named", "make", "named", "names", "register", "takes"]

BijectorFactory = Callable[..., Bijector]
"""Makes a bijector from an event shape; with a parameter `context_shape`, from that of a context too."""

GROUP = "mera.bijectors"
"""The group of entry points from which other packages' bijectors come: name = "module:factory"."""

_factories: Registry[BijectorFactory] = Registry("a bijector")


def register(name: str) -> Callable[[BijectorFactory], BijectorFactory]:
    """Let layouts name the decorated factory, whose first parameter is the event shape and the others are options.

    A factory, or class, with a parameter `context_shape` is told the shape of a conditional flow's context. A package
    may instead declare its factories as entry points of the group "mera.bijectors".

    >>> from mera import bijectors
    >>> @bijectors.register("my-leaky")
    ... def my_leaky(event_shape, slope=0.3):
    ...     return bijectors.LeakyReLU(event_shape, slope)
    >>> bijectors.named("my-leaky", {"slope": 0.2})((3, 4, 4)).slope
    0.2

    Raises:
        ValueError: if the name is taken.
    """
    return _factories.register(name)


def names() -> list[str]:
    """Every name that a layout may use for a bijector."""
    return sorted({*_factories.names(), *_entry_points()})


def factory(name: str) -> BijectorFactory:
    """The factory of that name.

    Raises:
        ValueError: if there is none.
    """
    if check_choice(name, names(), "a bijector") in _factories.names():
        return _factories.get(name)
    entry = _entry_points()[name]
    try:
        made_by = entry.load()
    except Exception as error:  # whatever another package does wrong
        raise ValueError(
            f"Expected the entry point {entry.value!r} of the bijector {name!r} to load; got {error!r}"
        ) from error
    if name not in _factories.names():  # the package may register it by itself
        _factories.register(name)(made_by)
    return _factories.get(name)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """What other packages offer, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def takes(factory: Callable[..., Any], option: str) -> bool:
    """Whether a factory has this option."""
    try:
        return option in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # something written in C
        return False


@dataclass(frozen=True)
class Named:
    """A registered factory with its options: what a node holds, and a file can say.

    Args:
        name: of the factory.
        options: all but the shapes.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __call__(self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None = None) -> Bijector:
        """Make the bijector."""
        return make(factory(self.name), event_shape, context_shape, **self.options)


def named(name: str, options: Mapping[str, Any] | None = None) -> Named:
    """A registered factory with some options.

    Raises:
        ValueError: if the name or an option is unknown; the message offers the closest.
    """
    found = factory(name)
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"Expected options of the bijector {name!r} by name; got {options!r}")
    options = dict(options or {})
    known = [option for option in list(inspect.signature(found).parameters)[1:] if option != "context_shape"]
    for option in options:
        check_choice(option, known, f"an option of the bijector {name!r}")
    return Named(name, plain(options))


def make(
    factory: Callable[..., Any], event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None, **options: Any
) -> Any:
    """What a factory makes for these shapes; one that knows no context makes a bijector without."""
    if context_shape is not None and takes(factory, "context_shape"):
        options["context_shape"] = context_shape
    return factory(event_shape, **options)
