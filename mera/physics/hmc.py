"""Hamiltonian Monte Carlo of fields (Duane et al. 1987), and parallel tempering of its chains at several points.

Tempering: Swendsen and Wang 1986, https://doi.org/10.1103/PhysRevLett.57.2607; exchanges between even and odd
neighbours in turns, Syed et al. 2021, https://arxiv.org/abs/1905.02939.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from mera._utils.checks import check_positive
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.flow.density import Density
from mera.physics.action import ActionFamily, ActionLike
from mera.physics.estimate import Estimate
from mera.physics.flow_samplers import check_fields, start_of_chains
from mera.physics.sampler import Draw, Options, Sampler, check_chains, run
from mera.physics.target import Target, event_shape_of
from mera.sampling import annealing
from mera.sampling.hamiltonian import LONGEST, StepSize, Trajectories, short_run

PARTICLES, SURVIVORS, MOVES, LEAPFROG = 64, 0.5, 4, 12
"""The particles that find the points; the effective number of their weights from one point to the next, as a fraction
of them; and the trajectories of each of them at a point, with the most leapfrog steps in one."""
HOTTEST, FAMILY_POINTS = 0.1, 8
"""The usual smallest power, and the number of points in the range of a family."""


@torch.no_grad()
def hmc(
    flow: Density | Sequence[int],
    action: ActionLike | Target,
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 200,
    length: float = 1.0,
    start: Tensor | None = None,
    **options: Unpack[Options],
) -> Estimate:
    """Sample :math:`e^{-S} / Z` by Hamiltonian Monte Carlo.

    For an action that is even (`Action.is_even`), each draw takes a random sign, so that chains do not keep the sign of
    the magnetisation in a broken phase.

    Args:
        flow: the shape (C, *shape) of a field, and all chains start from over-dispersed fields: noise of several
            scales, and minima of the action; or a flow, and half of the chains start from its samples.
        action: the action S, differentiable, from fields (B, C, *shape) to (B,); or its `Target`.
        chains: the number of chains.
        draws: the number of measured draws of each chain.
        warmup: the number of trajectories before the measurement, which tune the step to an acceptance rate of 0.8: in
            the first half a step for each chain, then the common one of all draws.
        length: the mean length of a trajectory, with unit masses.
        start: the initial fields of the chains, (K, C, *shape), in place of those above. The verdict says if their
            magnetisations spread less than those above.
        **options: `observables`, `every`, `out`, `resume` and `console`; see `Options`.

    Raises:
        ValueError: if an argument is invalid, or the flow does not suit the action.
        FloatingPointError: if the action or its gradient is not finite at the initial fields.

    >>> from mera import physics
    >>> chain = physics.hmc((1, 4, 4), physics.FreeField(mass2=1.0), draws=50, warmup=50)
    >>> chain.fields.shape, chain.history["m2"].shape
    (torch.Size([16, 1, 4, 4]), torch.Size([50, 16]))
    """
    chains, draws, warmup = check_chains(chains, draws, warmup)
    check_positive(length, "the length of a trajectory", most=LONGEST)
    fields = None if start is None else check_fields(start, event_shape_of(flow))
    target = Target.of(flow, action, start)
    if fields is None:
        fields = start_of_chains(target, flow, chains) if isinstance(flow, Density) else target.starts(chains)
    sampler = FieldChains([target], Trajectories(target.log_prob, fields, length, warmup))
    sampler.flow = flow if isinstance(flow, Density) else None
    facts: dict[str, Any] = {} if start is None else {"dispersed": target.is_dispersed(fields)}
    facts |= {"chains": len(fields), "length": length, "random_signs": target.action.is_even}
    return run(sampler, facts, draws, warmup, **options)[0]


class FieldChains(Sampler):
    """Chains of Hamiltonian trajectories of fields, at one point or at several.

    Args:
        targets: the target of each point that is measured.
        moves: the trajectories of the chains of all points, point by point.
    """

    name = "hmc"

    def __init__(self, targets: Sequence[Target], moves: Trajectories) -> None:
        self.targets, self.moves = targets, moves
        self.state_names = [f"moves.{name}" for name in moves.state_names]

    @property
    def fields(self) -> Tensor:  # type: ignore[override]
        """The current fields of the points that are measured, (K, C, *shape) of each."""
        return self._measured(self.targets[0].in_domain(self.moves.fields))

    def _measured(self, values: Tensor) -> Tensor:
        """The values of the chains at the points that are measured, which are the last ones."""
        return values[-len(self.targets) * (len(values) // self.moves.groups) :]

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Run a trajectory at each point; for even actions, each chain is then mirrored with probability 1/2."""
        rate, n = self.moves.advance(tune, most), len(self.targets)
        if all(target.action.is_even for target in self.targets):
            self.moves.chains.mirror()
        parts = zip(self.fields.chunk(n), self._measured(-self.moves.chains.value).chunk(n), strict=True)
        return [Draw(fields, rate, value, point=point) for point, (fields, value) in enumerate(parts)]


@torch.no_grad()
def temper(
    action: ActionLike | ActionFamily | Target,
    shape: Sequence[int],
    *,
    points: Sequence[float] | float | None = None,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 200,
    **options: Unpack[Options],
) -> Any:
    r"""Sample :math:`e^{-S} / Z` by parallel tempering: Hamiltonian Monte Carlo at several points with exchanges.

    At the points fields have the densities :math:`e^{-\beta S}` with powers :math:`\beta` up to 1, or those of a family
    of actions. Before each trajectory neighbouring points propose to exchange their fields. A field that goes to the
    hottest point, where barriers are low, and back can come from another phase. The verdict counts such round trips,
    and the exchanges. Errors come from the spread over chains, by Student's t, since rare changes of the phase hardly
    show in autocorrelations.

    Args:
        action: the action S, differentiable, or its `Target`; or an `ActionFamily` with one range.
        shape: the shape (C, *shape) of a field.
        points: the powers, from the hottest to 1; or the hottest power alone, where barriers must be low, 0.1 by
            default, from which particles are cooled to find powers at which neighbours exchange about half of their
            fields. Of a family the values of its parameter, by default eight that are equally spaced in its range.
        chains: the number of chains at each point.
        draws: the number of measured draws of each chain.
        warmup: the number of trajectories before the measurement, which tune the steps.
        **options: `observables`, `every`, `out`, `resume` and `console`; see `Options`.

    Returns:
        The estimate of the action itself; of a family a list of estimates, one for each point. `figures["exchanged"]`
        has the rates of exchange of neighbours, `figures["trips"]` the number of round trips, and `figures["points"]`
        the powers, or the values of the parameter.

    Raises:
        ValueError: if an argument is invalid, or the action has no gradient.

    >>> from mera import physics
    >>> wells = physics.DoubleWell(height=8.0)
    >>> found = physics.temper(wells, (1, 2), draws=50, warmup=50)
    >>> found.history["m2"].shape, int(found.figures["trips"]) > 0
    (torch.Size([50, 16]), True)
    """
    chains, draws, warmup = check_chains(chains, draws, warmup, 2)
    if isinstance(action, ActionFamily):
        if len(action.ranges) != 1:
            raise InputError("a family with one range", repr(action))
        ((name, ends),) = action.ranges.items()
        usual = torch.linspace(*ends, FAMILY_POINTS, dtype=torch.float64).tolist()
        at = usual if points is None else [*points]  # type: ignore[misc]
        targets = [Target.of(shape, action.at(**{name: value})) for value in at]
        fields = torch.cat([target.starts(chains) for target in targets])
        contexts = torch.cat([action.context(**{name: value}) for value in at]).repeat_interleave(chains, 0)
        sampler = Ladder(targets, lambda phi: -action(phi, contexts), fields, warmup, at)
    else:
        target = Target.of(shape, action)
        hottest = HOTTEST if points is None else points
        at = _powers(target, hottest) if isinstance(hottest, (int, float)) else [*map(float, hottest)]
        if len(at) < 2 or at != sorted(at) or at[0] < 0 or at[-1] != 1:
            expected = "two powers or more that increase from 0 or more to 1, or None for those that suit the action"
            raise InputError(expected, repr(points))
        fields = torch.cat([target.starts(chains) for _ in at])
        powers = torch.tensor(at).to(target.like).repeat_interleave(chains)
        sampler = Ladder([target], lambda phi: powers * target.log_prob(phi), fields, warmup, at)
    even = all(target.action.is_even for target in sampler.targets)
    found = run(sampler, {"chains": chains, "powers": points, "random_signs": even}, draws, warmup, **options)
    return found if isinstance(action, ActionFamily) else found[0]


def _powers(target: Target, hottest: float) -> list[float]:
    """Powers from the hottest to 1, at which particles keep a half of their effective number from one to the next."""
    if not 0 < hottest < 1:
        raise InputError("a smallest power between 0 and 1", repr(hottest))

    with fixed_seed(0):  # so that a measurement is resumed at the same points
        particles = short_run(Trajectories(lambda phi: hottest * target.log_prob(phi), target.starts(PARTICLES)))
        _, stages = annealing.anneal(
            lambda phi: hottest * target.log_prob(phi), target.log_prob, particles, StepSize(0.1),
            survivors=SURVIVORS, moves=MOVES, leapfrog=LEAPFROG, show=lambda n, beta: None,
        )  # fmt: skip
    return [hottest, *(hottest + beta * (1 - hottest) for beta, _ in stages[:-1]), 1.0]


class Ladder(FieldChains):
    """Chains at several points, whose neighbours exchange fields before each trajectory.

    Args:
        targets: the target of each point that is measured.
        log_prob: the log-density of the fields of all chains, point by point, (P * K, C, *shape) to (P * K,).
        fields: the initial fields, (P * K, C, *shape).
        warmup: the number of trajectories of the warm-up.
        points: the powers, or the values of a parameter; the last ones are those of the targets.
    """

    name = "tempering"

    def __init__(
        self, targets: Sequence[Target], log_prob: Callable[[Tensor], Tensor], fields: Tensor, warmup: int,
        points: Sequence[float],
    ) -> None:  # fmt: skip
        super().__init__(targets, Trajectories(log_prob, fields, warmup=warmup, groups=len(points)))
        self.state_names = [*self.state_names, "_exchanges", "_visited", "_trips", "_turn"]
        self._points = torch.tensor(points, dtype=torch.float64)
        n, chains = len(points), len(fields) // len(points)
        self._exchanges = torch.zeros(2, n - 1, dtype=torch.float64)  # accepted and proposed
        self._visited = torch.zeros(n, chains, dtype=torch.long)  # 1: from the cold end, 2: from the hot one
        self._trips, self._turn = 0, 0

    @property
    def figures(self) -> Mapping[str, Tensor]:  # type: ignore[override]
        """The points, the rates of exchange of neighbours, and the number of round trips."""
        rates = self._exchanges[0] / self._exchanges[1].clamp(min=1)
        return {"points": self._points, "exchanged": rates, "trips": torch.tensor(self._trips)}

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Exchange fields, and run a trajectory at each point."""
        self._exchange(count=not tune)
        return super().draw(tune, most)

    def _exchange(self, count: bool) -> None:
        """Propose exchanges of the fields of even, or odd, neighbours of each chain."""
        n, chains = len(self._points), self.moves.chains
        k = len(chains.x) // n
        order = torch.arange(n)
        lower = torch.arange(self._turn % 2, n - 1, 2)
        order[lower], order[lower + 1] = lower + 1, lower
        self._turn += 1
        rows = (order[:, None] * k + torch.arange(k)).flatten().to(chains.x.device)
        values, gradients = chains.evaluate(chains.x[rows])
        change = (values.sum(0) - chains.value).view(n, k).double()
        log_uniform = torch.rand(len(lower), k, dtype=torch.float64).log().to(change.device)
        accepted = torch.zeros_like(change, dtype=torch.bool)
        accepted[lower] = accepted[lower + 1] = log_uniform < change[lower] + change[lower + 1]
        if count:
            self._exchanges[0, lower] += accepted[lower].double().mean(1).cpu()
            self._exchanges[1, lower] += 1
        chains.accept(accepted.flatten(), chains.x[rows], values, gradients)
        self._visited = torch.where(accepted.cpu(), self._visited[order], self._visited)
        if count:
            self._trips += int((self._visited[-1] == 2).sum())  # fields that return from the hot end to the cold one
        self._visited[0] = torch.where(self._visited[0] == 1, 2, self._visited[0])
        self._visited[-1] = 1
