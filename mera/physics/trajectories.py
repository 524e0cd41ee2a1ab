"""Hamiltonian trajectories of fields, their over-dispersed starts, and short runs of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mera._utils.random import fixed_seed
from mera.bijectors.circular import wrap
from mera.flow.density import Density
from mera.physics.action import Action
from mera.sampling.hamiltonian import HamiltonianChains, StepSize

FIRST_STEP, LONGEST, MAX_STEPS = 0.1, 1e4, 1000
"""The initial step, the longest mean length of a trajectory, and the most leapfrog steps in one of mean length."""
SCALES = (1.0, 0.5, 2.0)
"""The standard deviations of noise, for one start after the other."""
NOISE = 0.1
"""The standard deviation of the noise on constant fields."""
LARGEST, GRID = 100.0, 801
"""The largest constant of the scan, and the number of constants, which lie closer near 0."""
MOST = 4
"""The most minima from which chains start, those of the least action."""
START, BETWEEN = 100, 10
"""The trajectories of each chain before its first field, and between its fields."""
MAX_CHAINS, MIN_CHAINS, SNAPSHOTS = 64, 16, 4
"""The most and the fewest chains that check a flow, and the number of fields of each of these chains."""
DOUBLE = torch.empty(0, dtype=torch.float64)
"""A tensor of double precision on the CPU, whose dtype and device fields have unless they are those of a flow."""
MAX_VALUES = 2**18
"""The approximate upper limit of the numbers in a field of all chains that check a flow."""


class Trajectories:
    """Hamiltonian trajectories of fields (K, C, *shape), of random lengths and unit masses.

    Lengths vary by half of their mean, so that no mode of the field has a period that always matches the length. The
    step is common, or with `own_steps` there is one for each chain, (K, 1): chains then make equally many steps, and
    one that starts where the action is steep is not held there by a step that suits the others.
    """

    def __init__(self, action: Action, fields: Tensor, length: float = 1.0, own_steps: bool = False) -> None:
        self.length = length
        step = torch.full_like(fields.flatten(1)[:, :1], FIRST_STEP) if own_steps else FIRST_STEP
        self.tuning = StepSize(step, least=length / MAX_STEPS)
        self.action, self._shape = action, fields.shape[1:]
        self.move_to(fields)

    def move_to(self, fields: Tensor) -> None:
        """Go on from other fields (K, C, *shape)."""
        self.chains = HamiltonianChains([lambda row: -self.action(row.unflatten(1, self._shape))], fields.flatten(1))
        if not (self.chains.value.isfinite().all() and self.chains.gradients.isfinite().all()):
            raise FloatingPointError("Expected a finite action and gradient of the fields at the start; got others")

    @property
    def fields(self) -> Tensor:
        """The current fields, (K, C, *shape)."""
        return in_domain(self.action, self.chains.x.unflatten(1, self._shape))

    def run(self, n: int = 1, tune: bool = False) -> float:
        """Run n trajectories, of which a warm-up tunes the step, and return the mean acceptance rate."""
        rates = 0.0
        for _ in range(n):
            length = self.length * (0.5 + torch.rand(()).item())
            step = torch.as_tensor(self.tuning.value, dtype=self.chains.x.dtype)
            rate = self.chains.trajectory(step.clamp(max=length), max(1, math.ceil(length / step.median().item())))
            rates += rate.mean().item() / n
            if tune:
                self.tuning.tune(rate[:, None] if step.ndim else rate.mean().item())
        return rates


def like_of(flow: object) -> Tensor:
    """An empty tensor of the dtype and device of a flow; in double precision on the CPU for anything else."""
    return torch.empty(0, dtype=flow.dtype, device=flow.device) if isinstance(flow, Density) else DOUBLE


def in_domain(action: Action, phi: Tensor) -> Tensor:
    """Wrap fields to [-pi, pi) for an action of angles, and return other fields unchanged."""
    return wrap(phi) if action.is_compact else phi


def is_differentiable(action: Action, fields: Tensor) -> bool:
    """Return whether an action has a gradient with respect to fields (K, C, *shape), as Hamiltonian Monte Carlo needs.

    The gradient with respect to parameters of the action, if it is a module, does not count.
    """
    with torch.enable_grad():
        phi = fields[:1].detach().clone().requires_grad_()
        value = action(phi)
        return value.requires_grad and torch.autograd.grad(value.sum(), phi, allow_unused=True)[0] is not None


def wells(action: Action, shape: Sequence[int], like: Tensor = DOUBLE) -> Tensor:
    """The constants where the action of a constant field (C, *shape) has a local minimum, at most 4, the lowest first.

    The field is the constant in the first channel and 0 in others, of the dtype and device of `like`. Where the action
    is finite nowhere there are none.

    >>> from mera import physics
    >>> wells(physics.Phi4(-2.0, 0.25), (1, 4, 4)).abs().round(decimals=1)
    tensor([1.4000, 1.4000], dtype=torch.float64)
    """
    grid = torch.linspace(-1, 1, GRID, dtype=torch.float64) * math.asinh(LARGEST)
    constants = grid.sinh()
    fields = torch.zeros(GRID, *shape, dtype=torch.float64)
    fields[:, 0] = constants.view(-1, *(1 for _ in shape[1:]))
    values = torch.cat([action(part.to(like)) for part in fields.split(64)]).double().cpu().nan_to_num(math.inf)
    inner = values[1:-1]
    lowest = (inner <= values[:-2]) & (inner < values[2:]) & inner.isfinite()
    found = constants[1:-1][lowest]
    return found[inner[lowest].argsort()][:MOST]


def starts(action: Action, shape: Sequence[int], n: int, like: Tensor = DOUBLE) -> Tensor:
    """Over-dispersed fields, (n, C, *shape), of the dtype and device of `like`; the same on any device.

    Every second field is noise, of one of several scales. The others are constants with a little noise: minima of the
    action on constant fields and their images under its symmetries, a random direction of channels and, for angles, a
    random angle. A field whose action is not finite is unit noise instead.
    """
    noise = torch.randn(n, *shape, dtype=torch.float64)
    ones = [1 for _ in shape[1:]]
    if action.is_compact:
        angles = math.pi * (2 * torch.rand(n, *shape, dtype=torch.float64) - 1)
        angles[1::2] = math.pi * (2 * torch.rand(len(angles[1::2]), shape[0], *ones, dtype=torch.float64) - 1)
        return angles.to(like)
    scales = torch.tensor([SCALES[i // 2 % len(SCALES)] for i in range(n)], dtype=torch.float64)
    fields = noise * scales.view(-1, 1, *ones)
    minima = wells(action, shape, like)
    if len(minima):
        places = torch.arange(len(fields[1::2])) % len(minima)
        directions = torch.randn(len(places), shape[0], *ones, dtype=torch.float64)
        directions = normalize(directions, dim=1) if shape[0] > 1 else torch.ones_like(directions)
        fields[1::2] = minima[places].view(-1, 1, *ones) * directions + NOISE * noise[1::2]
    fields, noise = fields.to(like), noise.to(like)
    return torch.where(action(fields).isfinite().view(-1, 1, *ones), fields, noise)


def is_dispersed(action: Action, fields: Tensor) -> bool:
    """Return whether the magnetisations of fields (K, C, *shape) spread at least half as far as those of `starts`."""
    with fixed_seed(0):
        usual = starts(action, fields.shape[1:], MIN_CHAINS, fields)
        spread = [action.order_parameter(x).flatten(2).mean(2).var(0, correction=0).sum() for x in (fields, usual)]
    return bool(spread[0] >= spread[1] / 4)


@torch.no_grad()
def short_run(action: Action, start: Tensor, snapshots: int = 1, warmup: int = START) -> Tensor:
    """Fields of chains of Hamiltonian Monte Carlo: approximate samples of the target, (snapshots * K, C, *shape).

    Args:
        action: the action, which must be differentiable.
        start: the initial fields of K chains, (K, C, *shape).
        snapshots: the number of fields of each chain.
        warmup: the number of trajectories before the first field, which tune the step.

    Raises:
        ValueError: if the action is not differentiable.
        FloatingPointError: if the action or its gradient is not finite at the initial fields.
    """
    trajectories, fields = Trajectories(action, start, own_steps=True), []
    for _ in range(2):  # steps that suited the start may not suit what follows
        trajectories.run(warmup // 2, tune=True)
        trajectories.tuning.restart()
    for snapshot in range(snapshots):
        if snapshot:
            trajectories.run(BETWEEN)
        fields.append(trajectories.fields)
    return torch.cat(fields)


@torch.inference_mode(False)
@torch.no_grad()
def start_of_chains(action: Action, flow: Density, chains: int) -> Tensor:
    """Initial fields of chains, (chains, C, *shape): half are samples of the flow, half of a short run from `starts`.

    R-hat shows whether the two groups agree; chains that all began in the flow would not show what the flow misses. For
    an action without a gradient all fields are samples of the flow, and a warning says so.
    """
    fields = flow.sample(chains).clone()
    if not is_differentiable(action, fields):
        warnings.warn(
            "Expected an action with a gradient, so that half of the chains start elsewhere than in the flow; got "
            "none: a mode that the flow misses would not show", stacklevel=6,
        )  # fmt: skip
    elif chains > 1:
        others = starts(action, fields.shape[1:], chains // 2, fields)
        fields = torch.cat([fields[len(others) :], short_run(action, others)])
    return fields


def fields_of(action: Action, flow: Density) -> Tensor | None:
    """Approximate samples of a target for a check of a flow, (N, C, *shape); None for an action without a gradient.

    The chains start from over-dispersed fields, see `starts`, with the same random numbers at each call.
    """
    lattice = flow.plan.input
    chains = max(MIN_CHAINS, min(MAX_CHAINS, MAX_VALUES // lattice.variables))
    with fixed_seed(0):
        start = starts(action, lattice.event_shape, chains, like_of(flow))
        return short_run(action, start, SNAPSHOTS) if is_differentiable(action, start) else None
