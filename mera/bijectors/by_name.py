"""Bijectors by name, for layouts, files and the command line; users and packages can register further bijectors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector
from mera.names.calls import parse_call
from mera.names.options import documented, with_options_checked
from mera.names.registry import Registry, plain

BijectorFactory = Callable[..., Bijector]
"""Makes a bijector from an event shape and, if it has a parameter `context_shape`, the shape of a context."""

_factories: Registry[BijectorFactory] = Registry("a bijector", lambda f: documented(with_options_checked(f)))


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

    Raises:
        ValueError: if the name is taken.
    """
    return _factories.register(name)


def names() -> list[str]:
    """All names of bijectors that a layout may use, sorted."""
    return _factories.names()


def factory(name: str) -> BijectorFactory:
    """The factory that is registered under a name; see `Registry.get`."""
    return _factories.get(name)


def takes(factory: Callable[..., Any], option: str) -> bool:
    """Whether a factory has a parameter named `option`."""
    try:
        return option in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable written in C has no signature
        return False


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

    @property
    def title(self) -> str:
        """The name; after the name of the inner bijector, if there is one."""
        inner = self.options.get("inner")
        return f"{inner['name'] if isinstance(inner, Mapping) else inner}, {self.name}" if inner else self.name


def name_and_options(bijector: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the options of a bijector, "spline", "spline(bins=5)" or {"name": "spline", "bins": 5}.

    Raises:
        ValueError: if the bijector has another form, or the name is unknown.

    >>> name_and_options("spline(bins=5)") == name_and_options({"name": "spline", "bins": 5})
    True
    """
    name, options = bijector, {}
    if isinstance(bijector, Mapping):
        options = dict(bijector)
        name = options.pop("name", None)
    elif isinstance(bijector, str):
        name, values, options = parse_call(bijector, "spline(bins=5)")
        if values:
            raise InputError("options by name, as in spline(bins=5)", repr(bijector))
    _factories.check_name(name)
    return name, options


def named(bijector: str | Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Named:
    """Look up a registered factory and check the options for it.

    Args:
        bijector: a name, "spline"; or a name with options, "spline(bins=5)" or {"name": "spline", "bins": 5}.
        options: further arguments of the factory, other than the shapes.

    Returns:
        The factory with its options, which makes a bijector when it is called with an event shape.

    Raises:
        ValueError: if the name or an option is unknown; the message offers the closest name.
    """
    name, own_options = name_and_options(bijector)
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"options of the bijector {name!r} by name", repr(options))
    all_options = own_options | dict(options or {})
    choices = list(inspect.signature(factory(name)).parameters)[1:]
    for option in all_options:
        check_choice(option, [c for c in choices if c != "context_shape"], f"an option of the bijector {name!r}")
    return Named(name, plain(all_options))


def make(
    factory: Callable[..., Any], event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None, **options: Any
) -> Any:
    """Call a factory with an event shape and options; pass `context_shape` only if it has a parameter of that name."""
    if context_shape is not None and takes(factory, "context_shape"):
        options["context_shape"] = context_shape
    return factory(event_shape, **options)
