"""Lattice actions: the base class, any function as an action, actions by name, and ranges of their parameters."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from numbers import Real
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.registry import Registry

ActionLike = Callable[[Tensor], Tensor]
"""A function from fields (B, C, *shape) to their actions, (B,)."""
ActionFactory = TypeVar("ActionFactory", bound=Callable[..., Any])
_actions: Registry[Any] = Registry("an action")
Periodic = bool | tuple[bool, ...]
"""Whether a lattice is periodic: in all directions, or in each of them."""


class Action:
    r"""The action S of a lattice field: the field has the density :math:`e^{-S(\phi)} / Z`.

    Any function from fields (B, C, *shape) to (B,) can be a training target and can be sampled. An `Action` adds the
    contribution of each site, symmetries and exact results. A subclass defines `density`, or else `__call__`.

    Attributes:
        is_even: whether :math:`S(-\phi) = S(\phi)`.
        periodic: whether the lattice is periodic, one value or one for each direction. If not, its borders are open.
        is_compact: whether the field consists of angles in :math:`[-\pi, \pi)`.
        channels: the number of channels of a field; None for any.
        inverse_temperature: the factor of the energy in the exponent of the weight, for the specific heat.
        flow_options: options of `mera.build` that a flow needs to learn the action.
        observables: by name, functions from fields (B, C, *shape) to numbers (B,) that samplers measure, too.
        clusters_suffice: whether `cluster` reaches all fields without trajectories of Hamiltonian Monte Carlo.
    """

    is_even: bool = False
    periodic: Periodic = True
    is_compact: bool = False
    channels: int | None = 1
    inverse_temperature: float = 1.0
    flow_options: ClassVar[Mapping[str, Any]] = {}
    observables: Mapping[str, Callable[[Tensor], Tensor]] = {}
    clusters_suffice: bool = False

    def __call__(self, phi: Tensor) -> Tensor:
        """The action of each field (B, C, *shape), (B,); fields of another number of channels C are refused."""
        if phi.ndim < 3 or self.channels not in (None, phi.shape[1]):
            raise InputError(f"fields (B, {self.channels}, *shape) of {self!r}", str(tuple(phi.shape)))
        return self.density(phi).flatten(1).sum(1)

    def density(self, phi: Tensor) -> Tensor:
        """The contribution of each site to the action of fields (B, C, *shape), (B, *shape); the sum is the action."""
        raise InputError("an action with the contribution of each site (density)", repr(self))

    def order_parameter(self, phi: Tensor) -> Tensor:
        """The field whose magnetisation and two-point function are measured, (B, C', *shape); by default phi itself."""
        return phi

    def energy(self, order: Tensor) -> Tensor | None:
        """The energy of each order parameter (B, C', *shape), (B,), if it is not the action; None if it is."""
        return None

    def embed(self, phi: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        r"""Embed Ising spins at random, for `cluster`: components c (B, *shape), and fields after a change of signs.

        The action has to depend on signs :math:`s = \pm 1` of the components by :math:`-\sum_e c(x) c(x + e)` alone.
        The function takes such signs, (B, *shape), and returns the fields (B, C, *shape) with the components s c.
        """
        raise InputError("an action that embeds Ising spins (Action.embed): Ising, XY, ON or Phi4", repr(self))

    def log_z(self, shape: Sequence[int]) -> float:
        r"""The exact logarithm of the integral of :math:`e^{-S}` over fields; a ValueError where it is not known."""
        raise InputError("an action and a lattice whose ln Z is known", f"{self!r} on {tuple(shape)}")


class FunctionAction(Action):
    """A function as an `Action`, which declares nothing."""

    channels = None

    def __init__(self, function: ActionLike) -> None:
        self.function = function

    def __call__(self, phi: Tensor) -> Tensor:
        """The value of the function for each field, (B,)."""
        return self.function(phi)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", None) or repr(self.function)


def as_action(action: ActionLike) -> Action:
    """Return an `Action` as it is, and any other function from fields (B, C, *shape) to numbers (B,) as an `Action`.

    Its attributes have neutral values: not even, any number of channels. A function that declares some is refused.

    >>> action = as_action(lambda phi: phi.square().flatten(1).sum(1))
    >>> action.is_even, action.channels
    (False, None)
    """
    if isinstance(action, Action):
        return action
    if not callable(action) or isinstance(action, type):
        got = f"the class {action.__name__}" if isinstance(action, type) else repr(action)
        raise InputError("an action, a function from fields (B, C, *shape) to numbers (B,)", got)
    declared = [name for name in ("is_even", "is_compact", "periodic", "channels", "density") if hasattr(action, name)]
    if declared:
        raise InputError(f"a subclass of mera.physics.Action, to declare {', '.join(declared)}", repr(action))
    return FunctionAction(action)


def is_differentiable(action: Action, fields: Tensor) -> bool:
    """Return whether an action has a gradient with respect to fields (K, C, *shape), as Hamiltonian Monte Carlo needs.

    The gradient with respect to parameters of the action, if it is a module, does not count.
    """
    with torch.enable_grad():
        phi = fields[:1].detach().clone().requires_grad_()
        value = action(phi)
        return value.requires_grad and torch.autograd.grad(value.sum(), phi, allow_unused=True)[0] is not None


def by_direction(periodic: Periodic, dimensions: int) -> tuple[bool, ...]:
    """Return whether a lattice is periodic in each of its directions.

    >>> by_direction(True, 2), by_direction((True, False), 2)
    ((True, True), (True, False))
    """
    each = (periodic,) * dimensions if isinstance(periodic, bool) else tuple(periodic)
    if len(each) != dimensions:
        raise InputError(f"periodic as one value, or one for each of {dimensions} directions", repr(periodic))
    return each


@lru_cache(maxsize=8)
def laplacian(shape: tuple[int, ...], periodic: Periodic = True) -> Tensor:
    r"""The eigenvalues of minus the Laplacian of a lattice by wave number, (*shape), in double precision.

    .. math:: \sum_\mu (2 - 2 \cos k_\mu)

    Wave numbers are multiples of :math:`2 \pi / L` in periodic directions and of :math:`\pi / L` in open ones. The
    result is cached and must not be changed.
    """
    edges = []
    for n, is_periodic in zip(shape, by_direction(periodic, len(shape)), strict=True):
        unit = (1 + is_periodic) * math.pi / n
        edges.append(2 - 2 * (unit * torch.arange(n, dtype=torch.float64)).cos())
    return torch.stack(torch.meshgrid(*edges, indexing="ij")).sum(0)


def neighbours(phi: Tensor, periodic: Periodic = True) -> Tensor:
    r"""The sum over directions and channels of :math:`(\phi(x + e) - \phi(x))^2` at each site, (B, *shape).

    In directions that are not `periodic`, the differences across the border are left out.
    """
    total = torch.zeros_like(phi)
    for axis, is_periodic in enumerate(by_direction(periodic, phi.ndim - 2), start=2):
        difference = phi.roll(-1, axis) - phi
        if not is_periodic:
            difference = difference.index_fill(axis, difference.new_tensor([phi.shape[axis] - 1], dtype=torch.long), 0)
        total = total + difference.square()
    return total.sum(1)


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
