"""Lattice actions: the base class, and any function as an action."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed

ActionLike = Callable[[Tensor], Tensor]
"""A function from fields (B, C, *shape) to their actions, (B,)."""
DOUBLE = torch.empty(0, dtype=torch.float64)
"""A tensor of double precision on the CPU, whose dtype and device fields have unless they are those of a flow."""
FINGERPRINT_FIELDS = 4
"""The number of fields in a fingerprint."""
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
        if self.channels not in (None, phi.shape[1]):
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


def noise_of(shape: Sequence[int], like: Tensor) -> Tensor:
    """Fixed fields of unit noise, (4, C, *shape), of the dtype and device of `like`; the same numbers at each call."""
    with fixed_seed(0):
        return torch.randn(FINGERPRINT_FIELDS, *shape, dtype=torch.float64).to(like)


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
    units = [
        (1 + is_periodic) * math.pi / n
        for is_periodic, n in zip(by_direction(periodic, len(shape)), shape, strict=True)
    ]
    edges = [2 - 2 * (unit * torch.arange(n, dtype=torch.float64)).cos() for unit, n in zip(units, shape, strict=True)]
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
