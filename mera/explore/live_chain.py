"""Cone Monte Carlo that runs sweep by sweep; independent of the web framework."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.chains.gamma import gamma_method
from mera.flow import Flow
from mera.physics.action import ActionLike
from mera.physics.check_target import check_sampled
from mera.physics.cone_monte_carlo import cone_sampler, default_levels
from mera.physics.observables import Observables

TUNED = 30
"""The number of sweeps that tune the step sizes; measurements begin after them."""
TRAJECTORIES = 2
LEAST = 20
"""The smallest number of draws for an autocorrelation time."""


class LiveChain:
    """Markov chains of fields: moves of latents on every level but the finest, and short HMC trajectories.

    Raises:
        ValueError: if the flow does not suit the action.

    Attributes:
        rates: the acceptance rate of each level in the last sweep, by level.
        m2: the squared magnetisation along each chain after the tuning, (draws, chains).
    """

    def __init__(self, flow: Flow, action: ActionLike, chains: int = 4) -> None:
        action = check_sampled(flow, action, alone=False)
        levels = default_levels(flow)
        start = flow.sample(chains)
        self._sampler = cone_sampler(flow, action, chains, levels, trajectories=TRAJECTORIES, start=start)
        self._observables = Observables(action)
        self.sweeps, self.rates = 0, dict.fromkeys(levels, math.nan)
        self.m2 = torch.empty(0, chains, dtype=torch.float64)

    @property
    def fields(self) -> Tensor:
        """The current fields, (chains, C, *shape)."""
        return self._sampler.fields

    @torch.no_grad()
    def sweep(self) -> None:
        """Move all chains by one sweep."""
        is_tuning = self.sweeps < TUNED
        self.rates = self._sampler.run(tune=is_tuning)
        self.sweeps += 1
        if not is_tuning:
            self.m2 = torch.cat([self.m2, self._observables.measure(self.fields)["m2"][None]])

    def describe(self) -> str:
        """Text with the acceptance by level, and m^2 with its autocorrelation time."""
        rates = "\n".join(f"z{level}: {rate:.2f} of the moves accepted" for level, rate in sorted(self.rates.items()))
        if self.sweeps <= TUNED:
            return f"{self.sweeps} sweeps, tuning the steps\n{rates}"
        text = f"{self.sweeps} sweeps\n{rates}"
        if len(self.m2) < LEAST:
            return text
        estimate = gamma_method(self.m2)
        return f"{text}\nm^2 = {self.m2.mean():.4f} +- {estimate.error:.4f}, autocorrelation {estimate.tau:.1f} sweeps"
