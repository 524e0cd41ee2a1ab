"""Bijectors by name, for layouts, files and the command line; users and other packages can register their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mera._utils.checks import check_choice
from mera._utils.options import documented
from mera._utils.registry import Registry, plain
from mera.bijectors.base import Bijector

__all__ = ["BijectorFactory", "Named", "make", "named", "names", "register", "takes"]

BijectorFactory = Callable[..., Bijector]
"""Makes a bijector from an event shape and, if it has a parameter `context_shape`, from the shape of a context."""

GROUP = "mera.bijectors"
"""The group of entry points with which other packages offer bijectors: name = "module:factory"."""

_factories: Registry[BijectorFactory] = Registry("a bijector")


def register(name: str) -> Callable[[BijectorFactory], BijectorFactory]:
    """Register the decorated factory, a function or a class, under a name that layouts can use.

    The first parameter of the factory is the event shape, all others are options. If there is a parameter
    `context_shape`, the factory is called with the shape of the context in a conditional flow. A package may instead
    declare its factories as entry points of the group "mera.bijectors". The help of options that are declared as
    `Annotated[type, mera.models.Option(help)]` goes into the factory's docstring.

    Args:
        name: the name.

    >>> from mera import bijectors
    >>> @bijectors.register("my-leaky")
    ... def my_leaky(event_shape, slope=0.3):
    ...     return bijectors.LeakyReLU(event_shape, slope)
    >>> bijectors.named("my-leaky", {"slope": 0.2})((3, 4, 4)).slope
    0.2

    Raises:
        ValueError: if the name is taken.
    """
    decorate = _factories.register(name)
    return lambda factory: decorate(documented(factory))


def names() -> list[str]:
    """All names that a layout may use for a bijector, sorted."""
    return sorted({*_factories.names(), *_entry_points()})


def factory(name: str) -> BijectorFactory:
    """The factory that is registered under a name.

    Args:
        name: the name, in the registry or of an entry point.

    Raises:
        ValueError: if the name is unknown, or its entry point cannot be loaded.
    """
    if check_choice(name, names(), "a bijector") in _factories.names():
        return _factories.get(name)
    entry = _entry_points()[name]
    try:
        loaded = entry.load()
    except Exception as error:  # importing another package may fail in any way
        raise ValueError(
            f"Expected the entry point {entry.value!r} of the bijector {name!r} to load; got {error!r}"
        ) from error
    if name not in _factories.names():  # the package may have registered the name while it was imported
        _factories.register(name)(loaded)
    return _factories.get(name)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """The entry points of other packages, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def takes(factory: Callable[..., Any], option: str) -> bool:
    """Whether a factory has a parameter of that name."""
    try:
        return option in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable written in C has no signature
        return False


@dataclass(frozen=True)
class Named:
    """A registered factory with options: the form of a bijector that a node holds and a file can store.

    Args:
        name: name of the factory.
        options: arguments of the factory other than the shapes.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __call__(self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None = None) -> Bijector:
        """Make the bijector for events, and contexts, of these shapes."""
        return make(factory(self.name), event_shape, context_shape, **self.options)


def named(name: str, options: Mapping[str, Any] | None = None) -> Named:
    """Look up a registered factory and check the options for it.

    Args:
        name: name of the factory.
        options: arguments of the factory other than the shapes; None for its defaults.

    Returns:
        The factory with its options, which makes a bijector when it is called with an event shape.

    Raises:
        ValueError: if the name or an option is unknown; the message offers the closest.
    """
    parameters = inspect.signature(factory(name)).parameters
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"Expected options of the bijector {name!r} by name; got {options!r}")
    options = dict(options or {})
    choices = [parameter for parameter in list(parameters)[1:] if parameter != "context_shape"]
    for option in options:
        check_choice(option, choices, f"an option of the bijector {name!r}")
    return Named(name, plain(options))


def make(
    factory: Callable[..., Any], event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None, **options: Any
) -> Any:
    """Call a factory; only a factory with a parameter `context_shape` is told the shape of the context.

    Args:
        factory: the factory.
        event_shape: shape (C, *sites) of one event.
        context_shape: shape of the context of one event; None for no context.
        **options: further arguments of the factory.
    """
    if context_shape is not None and takes(factory, "context_shape"):
        options["context_shape"] = context_shape
    return factory(event_shape, **options)
