r"""Cone Monte Carlo: exact Markov chains by moves of single latents, each at the cost of its generation cone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.actions import ActionLike, evaluate_action
from mera._utils.checks import check_choice, check_count, check_positive, is_integer
from mera._utils.densities import log_density
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.cones.incremental import IncrementalPass, Wiring
from mera.density import Density
from mera.flow import Flow
from mera.physics.chain import Chain, Recorder
from mera.physics.coarse import LatentTrajectories
from mera.physics.hmc import Trajectories
from mera.physics.moves import Move, moves_of_level, reach_of
from mera.physics.observables import Observables
from mera.physics.target import check_flow, check_start, field_target, in_domain
from mera.symmetrized import Symmetrized, underlying

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ConeSampler", "cone_monte_carlo"]

TARGET = 0.4
"""The acceptance rate to which the steps of cone moves are tuned."""
FIRST_STEP = 0.5


class ConeSampler:
    r"""Moves of latents for K chains side by side, level by level.

    The state is the latents z with the field :math:`\phi = G(z)`, whose density is
    :math:`e^{-S(G(z))} |\det dG / dz|`. A move changes the latents at some places by a preconditioned Crank-Nicolson
    step (Cotter et al. 2013, https://arxiv.org/abs/1202.0709), :math:`z' = \sqrt{1 - \beta^2} z + \beta \xi` with
    Gaussian noise :math:`\xi`, which leaves a Gaussian of unit variance invariant; with :math:`\beta = 1` the latents
    are drawn anew. The move is accepted with the probability

    .. math::
        \min\left(1, \exp(-\Delta S + \Delta \ln |\det dG / dz| + \Delta |z|^2 / 2)\right),

    whatever the prior of the flow is; for a Gaussian prior the sum vanishes where the flow is exact. Action and
    log-det are evaluated in the generation cone of the place alone. Places whose cones, grown by the reach of the
    action, do not meet move together and are accepted apart.

    Args:
        flow: the flow with the generator G.
        action: the action S.
        levels: the levels whose latents move, 0 for the finest.
        x: the fields at which the chains start, (K, C, *shape).

    Attributes:
        steps: for each level the step size, which `sweep(tune=True)` changes.
    """

    def __init__(self, flow: Flow, action: ActionLike, levels: Sequence[int], x: Tensor) -> None:
        self.flow, self.action = flow, action
        self.wiring = Wiring(flow.plan)
        reach = reach_of(action)
        self.moves: dict[int, list[Move]] = {
            h: [move.to(x.device) for move in moves_of_level(self.wiring, h, reach)] for h in levels
        }
        self.state = IncrementalPass(flow.runner, self.wiring, x)
        if reach is not None:
            self._check_reach()
        self.steps = dict.fromkeys(levels, FIRST_STEP)
        self._tuned = dict.fromkeys(levels, 0)

    @torch.no_grad()
    def sweep(self, tune: bool = False) -> dict[int, float]:
        """Move all latents of the levels once, the coarsest level first.

        Args:
            tune: whether the step of each level changes towards an acceptance rate of 0.4, as it may before the draws
                that count.

        Returns:
            The acceptance rate of each level.
        """
        rates = {}
        for level in sorted(self.moves, reverse=True):
            total, places = 0.0, 0
            for move in self.moves[level]:
                rate = self.move(move, self.steps[level])
                total, places = total + rate * move.change.places, places + move.change.places
            rates[level] = total / places
            if tune:
                self._tuned[level] += 1
                change = math.exp((rates[level] - TARGET) / self._tuned[level] ** 0.5)
                self.steps[level] = min(1.0, self.steps[level] * change)
        return rates

    def move(self, move: Move, step: float) -> float:
        """Propose new latents at the places of a move, and accept or reject them at each place.

        Args:
            move: the move.
            step: the step size.

        Returns:
            The mean acceptance rate.
        """
        change = move.change
        old = self.state.at(change)
        noise = torch.randn_like(old)
        new = math.sqrt(1 - step**2) * old + step * noise
        before = move.action(self.action, self.state.data)
        gain = self.state.propose(change, new)
        after = move.action(self.action, self.state.data)
        log_ratio = gain - (after - before) + (new.square() - old.square()).sum(2) / 2
        in_support = self._in_support(old) & self._in_support(new)  # both, so that the way back is as likely
        log_ratio = torch.where(log_ratio.isfinite() & in_support, log_ratio, -math.inf)
        self.state.settle(change, torch.rand_like(log_ratio).log() < log_ratio)
        return log_ratio.clamp(max=0).exp().mean().item()

    @property
    def log_q(self) -> Tensor:
        """The log-density of the fields under the flow, (K,)."""
        return self.flow.prior.log_prob(self.state.latents) - self.state.log_det

    def _in_support(self, latents: Tensor) -> Tensor:
        """Whether all latents (K, places, n) of a place are in the support of the prior, (K, places)."""
        return log_density(self.flow.prior.distribution, latents).isfinite().all(2)

    def _check_reach(self) -> None:
        """Refuse an action whose local change is not that of the whole action."""
        for moves in self.moves.values():
            move, phi = moves[0], self.state.data.clone()
            old = self.state.at(move.change)
            before = move.action(self.action, phi)
            self.state.propose(move.change, math.sqrt(0.75) * old + 0.5 * torch.randn_like(old))
            after, moved = move.action(self.action, self.state.data), evaluate_action(self.action, self.state.data)
            self.state.settle(move.change, torch.zeros(after.shape, dtype=torch.bool, device=after.device))
            whole = evaluate_action(self.action, phi)
            error = ((after - before).sum(1) - (moved - whole)).abs()
            close = torch.finfo(phi.dtype).eps ** 0.5 * (1 + moved.abs() + whole.abs())
            if (error > close).any():
                raise InputError(
                    f"an action whose density is the same function around each site and reaches {self.action.reach} "  # type: ignore[attr-defined]
                    "sites",
                    f"{self.action!r}, whose local changes differ from those of the whole by {error.max():.3g}",
                )


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
) -> Chain:
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

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> chain = physics.cone_monte_carlo(flow, physics.FreeField(mass2=1.0), sweeps=10, warmup=5)
    >>> len(chain.acceptance), chain.history["m2"].shape
    (2, torch.Size([10, 8]))
    """
    check_flow(flow, action)
    check_count(chains, "a number of chains")
    check_count(sweeps, "a number of sweeps", 4)
    check_count(warmup, "a number of sweeps before the draws", 0)
    check_count(trajectories, "a number of trajectories in a sweep", 0)
    check_positive(length, "the length of a trajectory")
    check_choice(dynamics, ("walk", "hamiltonian"), "dynamics")
    inside = underlying(flow)
    n_levels = len(inside.plan.latents)
    if levels is not None and not isinstance(levels, Sequence):
        raise InputError("a list of levels", repr(levels))
    levels = list(range(min(1, n_levels - 1), n_levels)) if levels is None else list(levels)
    for level in levels:
        if not is_integer(level) or not 0 <= level < n_levels or levels.count(level) > 1:
            raise InputError(f"different levels from 0 to {n_levels - 1}", repr(levels))
    if not levels:
        raise InputError("at least one level that moves", "none")
    event_shape = inside.plan.input.event_shape
    target = Trajectories(field_target(action, event_shape), length)
    fields = _start(flow, action, chains, target) if start is None else check_start(start, event_shape)
    sampler = ConeSampler(inside, action, levels if dynamics == "walk" else [], fields.to(inside.device, inside.dtype))
    coarse = LatentTrajectories(inside, action, levels)
    is_even = bool(getattr(action, "is_even", False))
    recorder = Recorder(Observables(action, observables))
    rates, began = dict.fromkeys(levels, 0.0), 0.0
    with ProgressBar("sweep", check_console(console)) as progress_bar:
        for i in range(warmup + sweeps):
            if i == warmup:
                began = time.perf_counter()
            found = sampler.sweep(tune=i < warmup)
            if trajectories or is_even or dynamics == "hamiltonian":
                phi = sampler.state.data
                if dynamics == "hamiltonian":
                    phi, rate = coarse.run(phi, tune=i < warmup)
                    found = dict.fromkeys(levels, rate)
                if trajectories:
                    phi = target.run(phi.flatten(1), trajectories, tune=i < warmup)[0].view_as(phi)
                if is_even:
                    phi = phi * (2 * torch.randint(0, 2, (len(phi), *(1 for _ in event_shape)), device=phi.device) - 1)
                sampler.state.data = in_domain(action, phi)
            if i >= warmup:
                rates = {level: rate + found[level] / sweeps for level, rate in rates.items()}
                phi, log_q = sampler.state.data, sampler.log_q
                if isinstance(flow, Symmetrized):
                    log_q = flow.log_prob_given(phi, log_q, torch.zeros(len(phi), dtype=torch.long, device=phi.device))
                value = evaluate_action(action, phi)
                recorder.add(phi, value, -value - log_q)
            note = ", ".join(f"{found[level]:.2f}" for level in sorted(found))
            progress_bar.update(i + 1, (i + 1) / (warmup + sweeps), f"accepted {note}")
    seconds = time.perf_counter() - began
    steps = sampler.steps if dynamics == "walk" else dict.fromkeys(levels, coarse.step)
    by_level = [[values.get(level, math.nan) for level in range(n_levels)] for values in (rates, steps)]
    return recorder.chain(sampler.state.data.clone(), by_level[0], seconds, by_level[1])


def _start(flow: Density, action: ActionLike, chains: int, trajectories: Trajectories) -> Tensor:
    """Fields of the flow, and behind them fields of Hamiltonian Monte Carlo from unit noise."""
    from_flow = flow.sample(chains - chains // 2)
    noise = torch.randn(chains // 2, *flow.plan.input.event_shape).to(from_flow)
    if not len(noise):
        return from_flow
    from_noise, _ = trajectories.run(noise.flatten(1), 100, tune=True)
    return torch.cat([from_flow, from_noise.view_as(noise)])
