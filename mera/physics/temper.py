r"""Parallel tempering: chains at several couplings that exchange their fields, so that each leaves its phase.

Swendsen and Wang 1986, https://doi.org/10.1103/PhysRevLett.57.2607; exchanges between even and odd neighbours in turns,
Syed et al. 2021, https://arxiv.org/abs/1905.02939.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.physics.action import ActionLike
from mera.physics.family import ActionFamily
from mera.physics.hmc import FieldChains
from mera.physics.sampler import Draw, Options, check_chains, run
from mera.physics.target import Target
from mera.sampling import annealing
from mera.sampling.hamiltonian import StepSize, Trajectories, short_run

PARTICLES, SURVIVORS, MOVES, LEAPFROG = 64, 0.5, 4, 12
"""The particles that find the points; the effective number of their weights from one point to the next, as a fraction
of them; and the trajectories of each of them at a point, with the most leapfrog steps in one."""
HOTTEST, FAMILY_POINTS = 0.1, 8
"""The usual smallest power, and the number of points in the range of a family."""


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
        at = _powers(target, hottest) if isinstance(hottest, float) else [*map(float, hottest)]
        if at != sorted(at) or at[-1] != 1:
            raise InputError("powers that increase to 1, or None for those that suit the action", repr(points))
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

    def cold(row: Tensor) -> Tensor:
        return target.log_prob(row.unflatten(1, target.shape))

    with fixed_seed(0):  # so that a measurement is resumed at the same points
        particles = short_run(Trajectories(lambda phi: hottest * target.log_prob(phi), target.starts(PARTICLES)))
        _, stages = annealing.anneal(
            lambda row: hottest * cold(row), cold, particles.flatten(1), StepSize(0.1),
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
    def figures(self) -> Mapping[str, Tensor]:
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
        here = accepted.flatten()
        chains.x = torch.where(here[:, None], chains.x[rows], chains.x)
        chains.values = torch.where(here, values, chains.values)
        chains.gradients = torch.where(here[:, None], gradients, chains.gradients)
        self._visited = torch.where(accepted.cpu(), self._visited[order], self._visited)
        if count:
            self._trips += int((self._visited[-1] == 2).sum())  # fields that return from the hot end to the cold one
        self._visited[0] = torch.where(self._visited[0] == 1, 2, self._visited[0])
        self._visited[-1] = 1
