"""Lattice actions: the base class, any function as an action, and actions by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.names.calls import parse_call
from mera.names.registry import Registry

ActionLike = Callable[[Tensor], Tensor]
"""From fields (B, C, *shape) to their actions (B,)."""

EXAMPLE = '"phi4(mass2=-4, coupling=1.143)"'

ActionFactory = TypeVar("ActionFactory", bound=Callable[..., Any])
_actions: Registry[Any] = Registry("an action", "mera.actions")


def register(name: str) -> Callable[[ActionFactory], ActionFactory]:
    """A decorator that registers an action under a name, for the command line.

    A package may instead declare its actions as entry points of the group "mera.actions".

    Args:
        name: the name.

    Raises:
        ValueError: if the name is taken.

    >>> from mera import physics
    >>> @physics.register("sextic")
    ... def sextic(coupling: float = 1.0):
    ...     return lambda phi: (phi.square() / 2 + coupling * phi**6).flatten(1).sum(1)
    >>> physics.make("sextic(coupling=2)")(torch.ones(1, 1, 2, 2))
    tensor([10.])
    """
    return _actions.register(name)


def names() -> list[str]:
    """The names of all registered actions, sorted."""
    return _actions.names()


def make(text: str) -> Callable[[Tensor], Tensor]:
    """The action that a text names.

    Args:
        text: the name of a registered action, with options: "phi4(mass2=-4, coupling=1.143)".

    Raises:
        ValueError: if the name or an option is unknown, or a value makes no sense.
    """
    if not isinstance(text, str):
        raise InputError(f"an action as text, such as {EXAMPLE}", repr(text))
    name, values, options = parse_call(text, EXAMPLE)
    if values:
        raise InputError(f"options with their names, as in {EXAMPLE}", repr(text))
    _actions.check_options(name, options)
    return _actions.get(name)(**options)


class Action(ABC):
    r"""The action S of a lattice field: the field has the density :math:`e^{-S(\phi)} / Z`.

    Any function from fields (B, C, *shape) to (B,) can be trained on and measured. An `Action` knows more of itself:
    the share of each site, so that a local change of the field costs locally; symmetries; and exact results.

    Attributes:
        reach: how many sites away, in each direction, the density at a site still depends on the field, if the density
            is the same function of the field around each site; None for other actions.
        is_even: whether :math:`S(-\phi) = S(\phi)`.
        periodic: whether the lattice is periodic. If not, its borders are open.
        is_compact: whether the field is one of angles in :math:`[-\pi, \pi)`.
        channels: the number of channels of a field; None for any.
        flow_options: options of `mera.build` that a flow needs to learn the action.
    """

    reach: int | None = None
    is_even: bool = False
    periodic: bool = True
    is_compact: bool = False
    channels: int | None = 1
    flow_options: ClassVar[Mapping[str, Any]] = {}

    def __call__(self, phi: Tensor) -> Tensor:
        """The action of fields, (B,).

        Args:
            phi: the fields, (B, C, *shape).
        """
        return self.density(phi).flatten(1).sum(1)

    @abstractmethod
    def density(self, phi: Tensor) -> Tensor:
        """The share of each site, (B, *shape), which add up to the action.

        Args:
            phi: the fields, (B, C, *shape).
        """

    def order_parameter(self, phi: Tensor) -> Tensor:
        """The field whose magnetisation and two-point function are measured, (B, C', *shape); the field itself here.

        Args:
            phi: the fields, (B, C, *shape).
        """
        return phi

    def log_z(self, shape: Sequence[int]) -> float:
        r"""The logarithm of the integral of :math:`e^{-S}` over all fields, exact, where it is known.

        Args:
            shape: the shape of the lattice.

        Raises:
            ValueError: if it is not known.
        """
        raise InputError("an action and a lattice whose ln Z is known", f"{self!r} on {tuple(shape)}")


class _Checked(Action):
    """An action of any class with all attributes of an `Action`, whose values are checked at each call.

    Args:
        action: an `Action`, or a function from fields to numbers, which may have some of the attributes.
    """

    def __init__(self, action: ActionLike) -> None:
        self.action = action
        self.reach = getattr(action, "reach", None) if hasattr(action, "density") else None
        self.is_even = bool(getattr(action, "is_even", False))
        self.periodic = bool(getattr(action, "periodic", True))
        self.is_compact = bool(getattr(action, "is_compact", False))
        self.channels = getattr(action, "channels", None)
        self.flow_options = dict(getattr(action, "flow_options", {}))  # type: ignore[misc]

    def __call__(self, phi: Tensor) -> Tensor:
        """The action of fields, (B,).

        Raises:
            InputError: if the action returns anything but floats (B,).
        """
        value = self.action(phi)
        if not isinstance(value, Tensor) or value.shape != phi.shape[:1] or not value.is_floating_point():
            got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"an action that returns one number for each field, floats ({len(phi)},)", got)
        return value

    def density(self, phi: Tensor) -> Tensor:
        """The share of each site, for an action that knows it."""
        return self.action.density(phi)  # type: ignore[attr-defined]

    def order_parameter(self, phi: Tensor) -> Tensor:
        """The field whose magnetisation is measured: that of the action, or the field itself."""
        return getattr(self.action, "order_parameter", super().order_parameter)(phi)

    def log_z(self, shape: Sequence[int]) -> float:
        """The exact ln Z, for an action that knows it."""
        return getattr(self.action, "log_z", super().log_z)(shape)

    def __repr__(self) -> str:
        return getattr(self.action, "__name__", None) or repr(self.action)


def as_action(action: ActionLike) -> Action:
    """Any function of fields as an `Action`, with all attributes, whose values are checked at each call.

    Args:
        action: an `Action`; or a function from fields (B, C, *shape) to numbers (B,), whose attributes are those of
            an action of which nothing is known, unless it has some of its own.

    Raises:
        InputError: if the argument is not a function.

    >>> action = as_action(lambda phi: phi.square().flatten(1).sum(1))
    >>> action.is_even, action.reach, action.channels
    (False, None, None)
    """
    if isinstance(action, _Checked):
        return action
    if not callable(action) or isinstance(action, type):
        got = f"the class {action.__name__}" if isinstance(action, type) else repr(action)
        raise InputError("an action, a function from fields (B, C, *shape) to numbers (B,)", got)
    return _Checked(action)


def neighbours(phi: Tensor, periodic: bool = True) -> Tensor:
    r"""The sum over directions of :math:`(\phi(x + e) - \phi(x))^2`, and over channels, at each site, (B, *shape).

    Args:
        phi: the fields, (B, C, *shape).
        periodic: whether the last site of a direction has the first one as its neighbour; otherwise it has none.
    """
    total = torch.zeros_like(phi)
    for axis in range(2, phi.ndim):
        difference = phi.roll(-1, axis) - phi
        if not periodic:
            difference = difference.index_fill(axis, difference.new_tensor([phi.shape[axis] - 1], dtype=torch.long), 0)
        total = total + difference.square()
    return total.sum(1)
