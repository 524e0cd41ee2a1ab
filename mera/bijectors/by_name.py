"""Bijectors by name, for layouts, files and the command line; users and packages can register further bijectors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mera._utils.options import check_options, documented
from mera._utils.registry import Registry, plain
from mera.bijectors.base import Bijector

BijectorFactory = Callable[..., Bijector]
"""Makes a bijector from an event shape and, if it has a parameter `context_shape`, the shape of a context."""

EXAMPLE = "coupling(layers=3)"

_factories: Registry[BijectorFactory] = Registry("a bijector", documented, given=1)


def register(name: str) -> Callable[[BijectorFactory], BijectorFactory]:
    """Register the decorated factory, a function or a class, under a name that layouts can use.

    The first parameter of the factory is the event shape, all other parameters are options. A parameter `context_shape`
    receives the shape of the context in a conditional flow. The help of options declared as
    `Annotated[type, mera.models.Option(help)]` is added to the factory's docstring.

    Args:
        name: the name in layouts, files and on the command line.

    >>> from mera import bijectors
    >>> @bijectors.register("my-spline")
    ... def my_spline(event_shape, bins=4):
    ...     "A spline of each variable, with another default."
    ...     return bijectors.Elementwise(event_shape, bijectors.RationalQuadratic(bins))
    >>> bijectors.named("my-spline", {"bins": 5})((3, 4, 4)).transform.bins
    5
    """
    return _factories.register(name)


names, factory, takes, defaults = _factories.names, _factories.get, _factories.takes, _factories.defaults


@dataclass(frozen=True)
class Named:
    """A registered factory with options, which nodes of a layout hold and files can store.

    Args:
        name: name of the factory.
        options: arguments of the factory other than the shapes.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __call__(self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None = None) -> Bijector:
        """Make the bijector for events of shape `event_shape` and contexts of shape `context_shape`."""
        return make(factory(self.name), event_shape, context_shape, **self.options)


def named(bijector: str | Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Named:
    """Look up a registered factory and check the options for it.

    Args:
        bijector: a name, "coupling"; or a name with options, "coupling(layers=5)" or {"name": "coupling", "layers": 5}.
        options: further arguments of the factory, other than the shapes.

    Raises:
        ValueError: if the name or an option is unknown; the message offers the closest name.
    """
    name, own_options = _factories.parse(bijector, EXAMPLE)
    _factories.check_options(name, all_options := own_options | dict(options or {}))
    return Named(name, check_options(factory(name), plain(all_options)))


def make(
    factory: Callable[..., Any], event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None, **options: Any
) -> Any:
    """Call a factory with an event shape and options; pass `context_shape` only if it has a parameter of that name."""
    if context_shape is not None and "context_shape" in inspect.signature(factory).parameters:
        options["context_shape"] = context_shape
    return factory(event_shape, **options)
