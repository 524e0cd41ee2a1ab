"""Hamiltonian Monte Carlo of fields (Duane et al. 1987): chains from over-dispersed starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from mera._utils.checks import check_positive
from mera.flow.density import Density
from mera.physics.action import ActionLike
from mera.physics.estimate import Estimate
from mera.physics.flow_samplers import check_fields, start_of_chains
from mera.physics.sampler import Draw, Options, Sampler, check_chains, run
from mera.physics.target import Target, event_shape_of
from mera.sampling.hamiltonian import LONGEST, Trajectories


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
