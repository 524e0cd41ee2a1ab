"""Cone Monte Carlo: exact Markov chains by moves of latents on every scale, mixed with trajectories of the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_count, check_positive
from mera._utils.errors import InputError
from mera.chains.gamma import LEAST
from mera.density import Density
from mera.flow import Flow
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_sampled
from mera.physics.cone_sampler import ConeSampler
from mera.physics.markov_chains import MarkovChains, run
from mera.physics.observables import Observables
from mera.physics.sampler import Draw, Sampler, State
from mera.physics.short_run import start_of_chains
from mera.physics.target import check_fields, field_target, in_domain
from mera.physics.trajectories import LONGEST, Trajectories

if TYPE_CHECKING:
    from rich.console import Console


@torch.no_grad()
def cone_monte_carlo(
    flow: Density,
    action: ActionLike,
    *,
    chains: int = 8,
    sweeps: int = 100,
    warmup: int = 50,
    levels: Sequence[int] | None = None,
    trajectories: int = 10,
    length: float = 1.0,
    start: Tensor | None = None,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    console: Console | None = None,
) -> MarkovChains:
    r"""Sample :math:`e^{-S} / Z` by moves of latents on every scale, mixed with Hamiltonian trajectories of the field.

    Both kinds of moves leave :math:`e^{-S} / Z` invariant for any flow. Moves of coarse latents change whole domains at
    the cost of their cones; see `ConeSampler`. Moves of latents alone rarely enter or leave regions where the flow has
    too little density, and no autocorrelation time shows this; the trajectories of the field reach these regions.
    After the trajectories of a sweep, the sign of the field is chosen at random if the action is even.

    Half of the chains start from samples of the flow, the other half from a run of Hamiltonian Monte Carlo, so that
    R-hat over the chains shows whether the two groups agree. For an action without a gradient, all
    start from samples of the flow, and a warning says so.

    Args:
        flow: the flow; for a `Symmetrized` flow, the flow that it wraps. Large lattices need double precision.
        action: the action S, from fields (B, C, *shape) to (B,). An `Action` with a `reach` on a periodic lattice is
            evaluated locally, at several places at once; any other action is evaluated as a whole for every place.
        chains: the number of chains.
        sweeps: the number of measured draws of each chain, one for each sweep.
        warmup: the number of sweeps before the measurement, which tune the step of each level to an acceptance rate of
            0.4, and the step of the trajectories to 0.8.
        levels: the levels whose latents move, 0 for the finest; all but the finest if None.
        trajectories: the number of Hamiltonian trajectories of the field in each sweep, 0 for none.
        length: the mean length of a trajectory, with unit masses.
        start: the initial fields of the chains, (K, C, *shape), instead of the initial fields described above.
        observables: your own observables by name, functions from fields to numbers (B,).
        console: a rich console for the progress bar; None to show nothing.

    Returns:
        The chains, with `log_weights`, and with `acceptance` and `steps` for each level, finest first (NaN for levels
        that do not move).

    Raises:
        ValueError: if an argument is invalid, or the flow is conditional without a fixed context.
        FloatingPointError: if the action or its gradient is not finite at a field of a chain.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> chain = physics.cone_monte_carlo(flow, physics.FreeField(mass2=1.0), sweeps=10, warmup=5)
    >>> len(chain.acceptance), chain.history["m2"].shape
    (2, torch.Size([10, 8]))
    """
    tune_allocator()
    check_count(chains, "a number of chains")
    check_count(sweeps, "a number of sweeps", LEAST)
    check_count(warmup, "a number of sweeps before the draws", 0)
    check_count(trajectories, "a number of trajectories in a sweep", 0)
    action = check_sampled(flow, action, alone=trajectories == 0)
    check_positive(length, "the length of a trajectory", most=LONGEST)
    sampler = Sweeps(flow, action, chains, levels, trajectories, length, start)
    return run(sampler, Observables(action, observables), warmup, sweeps, console)


def default_levels(flow: Flow) -> range:
    """The levels that move by default: all but the finest, or the only level."""
    n = len(flow.plan.latents)
    return range(min(1, n - 1), n)


class Sweeps(Sampler):
    """Chains that move by sweeps: moves of latents, trajectories of the field, a random sign if the action is even.

    The arguments are those of `cone_monte_carlo`, and the action has been checked. The weights are those of the density
    of the flow; the flow that it wraps moves the latents.
    """

    title = "sweep"

    def __init__(
        self, flow: Density, action: Action, chains: int, levels: Sequence[int] | None = None, trajectories: int = 10,
        length: float = 1.0, start: Tensor | None = None,
    ) -> None:  # fmt: skip
        bare: Flow = flow.flow
        if levels is not None and not isinstance(levels, Sequence):
            raise InputError("a list of levels", repr(levels))
        levels = [bare.plan.check_level(level) for level in (default_levels(bare) if levels is None else levels)]
        if len(set(levels)) < len(levels):
            raise InputError("different levels", repr(levels))
        if not levels:
            raise InputError("at least one level that moves", "none")
        event_shape = bare.plan.input.event_shape
        fields = start_of_chains(action, flow, chains) if start is None else check_fields(start, event_shape)
        self._flow, self._action, self._trajectories, self._rate = flow, action, trajectories, math.nan
        self._target = Trajectories(field_target(action, event_shape), length)
        self._sampler = ConeSampler(bare, action, levels, fields.to(bare.device, bare.dtype))
        of_levels = {f"level {level}": step for level, step in self._sampler.steps.items()}
        self._tuning = {"trajectories": self._target.tuning} | of_levels

    @property
    def fields(self) -> Tensor:  # type: ignore[override]
        """The current fields, (K, C, *shape)."""
        return self._sampler.state.data

    @property
    def steps(self) -> list[float]:
        """The step size of each level, NaN for levels that do not move."""
        return self._by_level({level: float(step.value) for level, step in self._sampler.steps.items()})

    def _by_level(self, values: Mapping[int, float]) -> list[float]:
        """A value for each level, finest first, with NaN for levels that do not move."""
        return [values.get(level, math.nan) for level in range(len(self._flow.plan.latents))]

    def run(self, tune: bool = False) -> dict[int, float]:
        """Run one sweep, which tunes the step sizes if `tune`; return the acceptance rate of each level that moves."""
        rates = self._sampler.sweep(tune)
        phi = self.fields
        if self._trajectories:
            row, self._rate = self._target.run(phi.flatten(1), self._trajectories, tune=tune)
            phi = row.view_as(phi)
        if self._action.is_even:
            phi = phi * (2 * torch.randint(0, 2, (len(phi), *(1 for _ in phi.shape[1:])), device=phi.device) - 1)
        self._set_fields(phi)  # also where nothing has changed: rounding errors of local updates do not add up
        return rates

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Run a sweep."""
        of_levels = self._by_level(self.run(tune))
        rates, phi = torch.tensor([*of_levels, self._rate]), self.fields
        if tune:
            return [Draw(phi, rates)]
        value = self._action(phi)
        return [Draw(phi, rates, value, -value - self._flow.log_prob_given(phi, self._sampler.log_q))]

    def _set_fields(self, phi: Tensor) -> None:
        """Replace the current fields, (K, C, *shape)."""
        self._sampler.state.data = in_domain(self._action, phi)

    def state(self) -> State:
        """The fields and the step sizes."""
        return {"fields": self.fields} | {name: step.state() for name, step in self._tuning.items()}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._set_fields(state["fields"].to(self.fields))
        for name, step in self._tuning.items():
            step.restore(state[name])
