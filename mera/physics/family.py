"""Actions by name, and ranges of their parameters for flows that are conditional on them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.registry import Registry
from mera.physics.action import Action

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


def _is_pair(value: object) -> bool:
    """Return whether a value is a pair of numbers, the ends of a range."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(end, Real) for end in value)


class ActionFamily:
    """An action whose parameters vary in ranges, for a flow that is conditional on them.

    Contexts of the flow are the parameters, scaled to -1 to 1.

    Args:
        action: the action, a frozen dataclass such as `Phi4`; its other parameters stay as they are.
        **ranges: by the names of parameters, the smallest and the largest value.

    Raises:
        ValueError: if the action has no such parameter, or not both ends of a range are valid.

    >>> from mera.physics import Phi4
    >>> family = ActionFamily(Phi4(coupling=0.5), mass2=(-2.0, 1.0))
    >>> family.at(mass2=0.5)
    Phi4(mass2=0.5, coupling=0.5, periodic=True)
    >>> family.context(mass2=0.25)
    tensor([[0.5000]])
    """

    def __init__(self, action: Action, **ranges: tuple[float, float]) -> None:
        parameters: Any = fields(action) if is_dataclass(action) else ()
        names = [parameter.name for parameter in parameters if parameter.type in ("float", float)]
        if not ranges or not set(ranges) <= set(names):
            known = ", ".join(names) or "which has none"
            raise InputError(f"ranges of parameters of {action!r}, {known}", repr(ranges))
        for name, ends in ranges.items():
            if not _is_pair(ends) or not ends[0] < ends[1]:
                raise InputError(f"a range (smallest, largest) of {name}", repr(ends))
        self.action, self.ranges = action, {name: (float(a), float(b)) for name, (a, b) in ranges.items()}
        for end in (0, 1):
            self.at(**{name: ends[end] for name, ends in self.ranges.items()})

    def __repr__(self) -> str:
        ranges = ", ".join(f"{name}={ends}" for name, ends in self.ranges.items())
        return f"ActionFamily({self.action!r}, {ranges})"

    @property
    def middle(self) -> dict[str, float]:
        """The parameters in the middle of their ranges."""
        return {name: (low + high) / 2 for name, (low, high) in self.ranges.items()}

    def at(self, **values: float) -> Any:
        """The action with a value of each parameter that varies.

        Raises:
            ValueError: if a parameter is missing, unknown or out of its range.
        """
        if set(values) != set(self.ranges):
            raise InputError(f"the parameters {', '.join(self.ranges)}", ", ".join(values) or "none")
        for name, value in values.items():
            low, high = self.ranges[name]
            if not low <= value <= high:
                raise InputError(f"{name} from {low:g} to {high:g}", repr(value))
        return replace(self.action, **{name: float(value) for name, value in values.items()})  # type: ignore[type-var]

    def context(self, **values: float) -> Tensor:
        """The context of a flow for these parameters, (1, k), in single precision; see `at` for the arguments."""
        self.at(**values)
        scaled = [2 * (float(values[name]) - low) / (high - low) - 1 for name, (low, high) in self.ranges.items()]
        return torch.tensor([scaled])

    def __call__(self, phi: Tensor, context: Tensor) -> Tensor:
        """The action of each field (B, C, *shape) with its own parameters, by its context (B, k): (B,)."""
        ends = torch.tensor(list(self.ranges.values()), dtype=phi.dtype, device=phi.device)
        parameters = ends.mean(1) + context.to(phi) * (ends[:, 1] - ends[:, 0]) / 2

        def of_field(field: Tensor, values: Tensor) -> Tensor:
            action = copy.copy(self.action)  # `dataclasses.replace` would check the tensors as numbers
            vars(action).update(zip(self.ranges, values.unbind(), strict=True))
            return action(field[None])[0]

        return torch.func.vmap(of_field)(phi, parameters)


def make(text: str) -> Any:
    """Make a registered action from its name and options, given as text; or a family of actions.

    Args:
        text: the name and options, "phi4(mass2=-4, coupling=1.143)". A pair in place of a number is a range, and makes
            an `ActionFamily`.

    Raises:
        ValueError: if the name or an option is unknown, or a value is invalid.

    >>> make("phi4(mass2=(-4, -1), coupling=1)")
    ActionFamily(Phi4(mass2=-2.5, coupling=1, periodic=True), mass2=(-4.0, -1.0))
    """
    name, options = _actions.parse(text, '"phi4(mass2=-4, coupling=1.143)"')
    _actions.check_options(name, options)
    factory = _actions.get(name)
    numbers = {key for key, p in inspect.signature(factory).parameters.items() if p.annotation in ("float", float)}
    ranges = {key: value for key, value in options.items() if key in numbers and _is_pair(value)}
    if not ranges:
        return factory(**options)
    return ActionFamily(factory(**options | {key: sum(pair) / 2 for key, pair in ranges.items()}), **ranges)
