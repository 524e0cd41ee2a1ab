"""Moves of single latents, each evaluated in its generation cone only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.chains.step_size import StepSize
from mera.cones.incremental import IncrementalPass, Wiring
from mera.flow import Flow
from mera.physics.action import ActionLike, as_action
from mera.physics.moves import Move, moves_of_level

ACCEPTED = 0.4
"""The target acceptance rate of cone moves."""
FIRST_STEP = 0.5


class ConeSampler:
    r"""Moves of latents of K chains in one batch, level by level.

    The state is the latents z with the field :math:`\phi = G(z)` and the density
    :math:`e^{-S(G(z))} |\det dG / dz|`. A move changes the latents at one or more places by a preconditioned
    Crank-Nicolson step (Cotter et al. 2013, https://arxiv.org/abs/1202.0709),
    :math:`z' = \sqrt{1 - \beta^2} z + \beta \xi` with Gaussian noise :math:`\xi`, which leaves a Gaussian of unit
    variance invariant; with :math:`\beta = 1` the latents are redrawn. The move is accepted with the probability

    .. math::
        \min\left(1, \exp(-\Delta S + \Delta \ln |\det dG / dz| + \Delta |z|^2 / 2)\right),

    for any prior of the flow; for a Gaussian prior the exponent vanishes where the flow is exact. Action and log-det
    are evaluated in the generation cone of the place only. Places whose cones, grown by the reach of the action, do
    not overlap are proposed together and accepted separately.

    Args:
        levels: the levels whose latents move, 0 for the finest.
        x: the initial fields of the chains, (K, C, *shape).

    Attributes:
        steps: the step size of each level; `sweep(tune=True)` changes it.
    """

    def __init__(self, flow: Flow, action: ActionLike, levels: Sequence[int], x: Tensor) -> None:
        self.flow, self.action = flow, as_action(action)
        self.wiring = Wiring(flow.plan)
        reach = self.action.reach if self.action.periodic else None  # None: the action is not local
        self.moves: dict[int, list[Move]] = {
            h: [move.to(x.device) for move in moves_of_level(self.wiring, h, reach)] for h in levels
        }
        self.state = IncrementalPass(flow.runner, self.wiring, x)
        if reach is not None:
            self._check_reach()
        self.steps = {level: StepSize(FIRST_STEP, ACCEPTED, most=1.0) for level in levels}

    @torch.no_grad()
    def sweep(self, tune: bool = False) -> dict[int, float]:
        """Move all latents of the levels once, the coarsest level first; return the acceptance rate of each level.

        Args:
            tune: whether to tune the step of each level towards an acceptance rate of 0.4, which is allowed in the
                warm-up only.
        """
        rates = {}
        for level in sorted(self.moves, reverse=True):
            total, places = 0.0, 0
            for move in self.moves[level]:
                rate = self.move(move, float(self.steps[level].value))
                total, places = total + rate * move.change.places, places + move.change.places
            rates[level] = total / places
            if tune:
                self.steps[level].tune(rates[level])
        return rates

    def move(self, move: Move, step: float) -> float:
        """Propose latents at the places of a move, accept or reject each place, return the mean acceptance rate."""
        change = move.change
        old = self.state.at(change)
        noise = torch.randn_like(old)
        new = math.sqrt(1 - step**2) * old + step * noise
        before = move.action(self.action, self.state.data)
        gain = self.state.propose(change, new)
        after = move.action(self.action, self.state.data)
        log_ratio = gain - (after - before) + (new.square() - old.square()).sum(2) / 2
        in_support = self._in_support(old) & self._in_support(new)  # both, for detailed balance
        log_ratio = torch.where(log_ratio.isfinite() & in_support, log_ratio, -math.inf)
        self.state.settle(change, torch.rand_like(log_ratio).log() < log_ratio)
        return log_ratio.clamp(max=0).exp().mean().item()

    @property
    def log_q(self) -> Tensor:
        """The log-density of the fields under the flow, (K,)."""
        return self.flow.prior.log_prob(self.state.latents) - self.state.log_det

    def _in_support(self, latents: Tensor) -> Tensor:
        """Whether all n latents of each place are in the support of the prior, from (K, places, n) to (K, places)."""
        return self.flow.prior.log_density(latents).isfinite().all(2)

    def _check_reach(self) -> None:
        """Refuse an action whose local change differs from the change of the whole action."""
        for moves in self.moves.values():
            move, phi = moves[0], self.state.data.clone()
            old = self.state.at(move.change)
            before = move.action(self.action, phi)
            self.state.propose(move.change, math.sqrt(0.75) * old + 0.5 * torch.randn_like(old))
            after, moved = move.action(self.action, self.state.data), self.action(self.state.data)
            self.state.settle(move.change, torch.zeros(after.shape, dtype=torch.bool, device=after.device))
            whole = self.action(phi)
            error = ((after - before).sum(1) - (moved - whole)).abs()
            close = torch.finfo(phi.dtype).eps ** 0.5 * (1 + moved.abs() + whole.abs())
            if (error > close).any():
                raise InputError(
                    f"an action whose density is the same function around each site and reaches {self.action.reach} "
                    "sites",
                    f"{self.action!r}, whose local changes differ from the changes of the whole by {error.max():.3g}",
                )
