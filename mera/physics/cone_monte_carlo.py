"""Cone Monte Carlo: exact Markov chains by moves of latents on every scale, mixed with trajectories of the field."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_choice, check_count, check_positive, is_integer
from mera._utils.errors import InputError
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.density import Density
from mera.display.progress import ProgressBar, check_console
from mera.flow import Flow
from mera.physics.action import Action, ActionLike
from mera.physics.coarse import LatentTrajectories
from mera.physics.cone_sampler import ConeSampler
from mera.physics.hmc import Trajectories
from mera.physics.markov_chains import MarkovChains, Recorder
from mera.physics.observables import Observables
from mera.physics.target import check_fields, check_sampled, field_target, in_domain

if TYPE_CHECKING:
    from rich.console import Console


@torch.no_grad()
@fixed_weights()
def cone_monte_carlo(
    flow: Density,
    action: ActionLike,
    *,
    chains: int = 8,
    sweeps: int = 100,
    warmup: int = 50,
    levels: Sequence[int] | None = None,
    dynamics: str = "walk",
    trajectories: int = 10,
    length: float = 1.0,
    start: Tensor | None = None,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    console: Console | None = None,
) -> MarkovChains:
    r"""Sample :math:`e^{-S} / Z` by moves of latents on every scale, mixed with Hamiltonian trajectories of the field.

    Both kinds of moves leave :math:`e^{-S} / Z` invariant, whatever the flow. Moves of coarse latents change whole
    domains at the cost of their cones; see `ConeSampler`. Trajectories mend what cones do badly: fields that the flow
    covers too thinly are entered and left rarely by moves of latents alone, which no autocorrelation time shows. After
    the trajectories of a sweep, the field changes its sign at random if the action is even.

    Half of the chains start from samples of the flow, the other half from a run of Hamiltonian Monte Carlo, so that
    R-hat over the chains tells whether both meet.

    Args:
        flow: the flow; of a `Symmetrized` one the flow inside. Double precision is best where a lattice is large.
        action: the action S, from fields (B, C, *shape) to (B,). Moves at several places together, and their low cost,
            need an `Action` with a `reach` on a periodic lattice; otherwise the whole action is evaluated for one place
            after the other.
        chains: the number of chains.
        sweeps: the number of draws of each chain that are measured, one for each sweep.
        warmup: sweeps before, in which the step of each level is tuned to an acceptance rate of 0.4, and the steps of
            trajectories to 0.8.
        levels: the levels whose latents move, 0 for the finest; all but the finest if None.
        dynamics: "walk" for random steps of the latents at each place, each at the cost of its cone; "hamiltonian" for
            one trajectory of all latents of the levels together in each sweep, which suits the coarsest levels, whose
            cones cover the lattice anyway. See `ConeSampler` and `LatentTrajectories`.
        trajectories: Hamiltonian trajectories of the field in each sweep, 0 for none.
        length: their mean length, with unit masses.
        start: the fields at which the chains start, (K, C, *shape), in place of the starts above.
        observables: functions of your own by name, from fields to numbers (B,), which are measured too.
        console: where progress is shown; None to show nothing.

    Returns:
        The chains, with `acceptance` and `steps` for each level, finest first, NaN for levels that do not move, and
        `log_weights`.

    Raises:
        ValueError: if an argument is invalid, or the flow is conditional.
        FloatingPointError: if the action or its gradient is not finite at a field of a chain.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> chain = physics.cone_monte_carlo(flow, physics.FreeField(mass2=1.0), sweeps=10, warmup=5)
    >>> len(chain.acceptance), chain.history["m2"].shape
    (2, torch.Size([10, 8]))
    """
    tune_allocator()
    action = check_sampled(flow, action)
    check_count(chains, "a number of chains")
    check_count(sweeps, "a number of sweeps", 4)
    check_count(warmup, "a number of sweeps before the draws", 0)
    check_count(trajectories, "a number of trajectories in a sweep", 0)
    check_positive(length, "the length of a trajectory")
    check_choice(dynamics, ("walk", "hamiltonian"), "dynamics")
    inside: Flow = flow.flow
    n_levels = len(inside.plan.latents)
    if levels is not None and not isinstance(levels, Sequence):
        raise InputError("a list of levels", repr(levels))
    levels = list(default_levels(inside) if levels is None else levels)
    for level in levels:
        if not is_integer(level) or not 0 <= level < n_levels or levels.count(level) > 1:
            raise InputError(f"different levels from 0 to {n_levels - 1}", repr(levels))
    if not levels:
        raise InputError("at least one level that moves", "none")
    event_shape = inside.plan.input.event_shape
    target = Trajectories(field_target(action, event_shape), length)
    fields = _start(flow, action, chains, target) if start is None else check_fields(start, event_shape)
    sweep = Sweep(inside, action, levels, fields.to(inside.device, inside.dtype), target, trajectories, dynamics)
    recorder = Recorder(Observables(action, observables))
    rates, began = dict.fromkeys(levels, 0.0), 0.0
    with ProgressBar("sweep", check_console(console)) as progress_bar:
        for i in range(warmup + sweeps):
            if i == warmup:
                began = time.perf_counter()
            found = sweep.run(tune=i < warmup)
            if i >= warmup:
                rates = {level: rate + found[level] / sweeps for level, rate in rates.items()}
                phi = sweep.fields
                value = action(phi)
                recorder.add(phi, value, -value - flow.log_prob_given(phi, sweep.log_q))
            note = ", ".join(f"{found[level]:.2f}" for level in sorted(found))
            progress_bar.update(i + 1, (i + 1) / (warmup + sweeps), f"accepted {note}")
    seconds = time.perf_counter() - began
    by_level = [[values.get(level, math.nan) for level in range(n_levels)] for values in (rates, sweep.steps)]
    return recorder.chain(sweep.fields.clone(), by_level[0], seconds, by_level[1])


def default_levels(flow: Flow) -> range:
    """The levels that move where nothing else is said: all but the finest, or the only one."""
    n = len(flow.plan.latents)
    return range(min(1, n - 1), n)


class Sweep:
    """One sweep of chains side by side: moves of latents, then trajectories of the field, then a sign at random.

    Args:
        flow: the flow.
        action: the action S; the sign changes at random if it is even.
        levels: the levels whose latents move, 0 for the finest.
        x: the fields at which the chains start, (K, C, *shape).
        target: the trajectories of the field.
        trajectories: how many of them a sweep has.
        dynamics: "walk" or "hamiltonian"; see `cone_monte_carlo`.
    """

    def __init__(
        self,
        flow: Flow,
        action: Action,
        levels: Sequence[int],
        x: Tensor,
        target: Trajectories,
        trajectories: int,
        dynamics: str = "walk",
    ) -> None:
        self.action, self.levels, self.target, self.trajectories = action, levels, target, trajectories
        self._sampler = ConeSampler(flow, action, levels if dynamics == "walk" else [], x)
        self._coarse = LatentTrajectories(flow, action, levels) if dynamics == "hamiltonian" else None

    @property
    def fields(self) -> Tensor:
        """The current fields, (K, C, *shape)."""
        return self._sampler.state.data

    @property
    def log_q(self) -> Tensor:
        """The log-density of the fields under the flow, (K,)."""
        return self._sampler.log_q

    @property
    def steps(self) -> dict[int, float]:
        """The step size of each level."""
        if self._coarse is not None:
            return dict.fromkeys(self.levels, self._coarse.step)
        return {level: float(step.value) for level, step in self._sampler.steps.items()}

    def run(self, tune: bool = False) -> dict[int, float]:
        """Move the chains.

        Args:
            tune: whether step sizes change, as they may before the draws that count.

        Returns:
            The acceptance rate of each level.
        """
        rates = self._sampler.sweep(tune)
        if not (self.trajectories or self.action.is_even or self._coarse is not None):
            return rates
        phi = self.fields
        if self._coarse is not None:
            phi, rate = self._coarse.run(phi, tune)
            rates = dict.fromkeys(self.levels, rate)
        if self.trajectories:
            phi = self.target.run(phi.flatten(1), self.trajectories, tune=tune)[0].view_as(phi)
        if self.action.is_even:
            phi = phi * (2 * torch.randint(0, 2, (len(phi), *(1 for _ in phi.shape[1:])), device=phi.device) - 1)
        self._sampler.state.data = in_domain(self.action, phi)
        return rates


def _start(flow: Density, action: Action, chains: int, trajectories: Trajectories) -> Tensor:
    """Fields of the flow, and behind them fields of Hamiltonian Monte Carlo from unit noise."""
    from_flow = flow.sample(chains - chains // 2)
    noise = torch.randn(chains // 2, *flow.plan.input.event_shape).to(from_flow)
    if not len(noise):
        return from_flow
    from_noise, _ = trajectories.run(noise.flatten(1), 100, tune=True)
    return torch.cat([from_flow, from_noise.view_as(noise)])
