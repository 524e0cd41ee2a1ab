"""Lattice actions by name, and families of them by ranges of their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from mera._utils.registry import Registry
from mera.physics.family import ActionFamily, is_pair

EXAMPLE = '"phi4(mass2=-4, coupling=1.143)"'

ActionFactory = TypeVar("ActionFactory", bound=Callable[..., Any])
_actions: Registry[Any] = Registry("an action")


def register(name: str) -> Callable[[ActionFactory], ActionFactory]:
    """A decorator that registers an action under a name, for `make` and the command line.

    >>> import torch
    >>> from mera import physics
    >>> @physics.register("sextic")
    ... def sextic(coupling: float = 1.0):
    ...     return lambda phi: (phi.square() / 2 + coupling * phi**6).flatten(1).sum(1)
    >>> physics.make("sextic(coupling=2)")(torch.ones(1, 1, 2, 2))
    tensor([10.])
    """
    return _actions.register(name)


names = _actions.names


def make(text: str) -> Any:
    """Make a registered action from its name and options, given as text; or a family of actions.

    Args:
        text: the name of a registered action, with options: "phi4(mass2=-4, coupling=1.143)". A pair in place of a
            number is a range, and makes an `ActionFamily`: "phi4(mass2=(-4, -1), coupling=1.143)".

    Raises:
        ValueError: if the name or an option is unknown, or a value is invalid.

    >>> make("phi4(mass2=(-4, -1), coupling=1)")
    ActionFamily(Phi4(mass2=-2.5, coupling=1, periodic=True), mass2=(-4.0, -1.0))
    """
    name, options = _actions.parse(text, EXAMPLE)
    _actions.check_options(name, options)
    factory = _actions.get(name)
    numbers = {key for key, p in inspect.signature(factory).parameters.items() if p.annotation in ("float", float)}
    ranges = {key: value for key, value in options.items() if key in numbers and is_pair(value)}
    if not ranges:
        return factory(**options)
    return ActionFamily(factory(**options | {key: sum(pair) / 2 for key, pair in ranges.items()}), **ranges)
