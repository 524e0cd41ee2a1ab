"""Cone Monte Carlo that runs sweep by sweep; independent of the web framework."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.flow import Flow
from mera.physics.action import ActionLike
from mera.physics.check_target import check_sampled
from mera.physics.cone_monte_carlo import Sweeps, default_levels
from mera.physics.markov_chains import chains_of
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
        self._sampler = Sweeps(flow, action, chains, levels, trajectories=TRAJECTORIES)
        self._observables = Observables(action)
        self.sweeps, self.rates = 0, dict.fromkeys(levels, math.nan)
        self.m2 = torch.empty(0, chains, dtype=torch.float64)
        self._accepted: list[list[float]] = []

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
            self._accepted.append([*self.rates.values()])
            self.m2 = torch.cat([self.m2, self._observables.measure(self.fields)["m2"][None]])

    def describe(self) -> str:
        """Text with the acceptance by level, and m^2 with its autocorrelation time and the verdict on its error."""
        rates = "\n".join(f"z{level}: {rate:.2f} of the moves accepted" for level, rate in sorted(self.rates.items()))
        if self.sweeps <= TUNED:
            return f"{self.sweeps} sweeps, tuning the steps\n{rates}"
        text = f"{self.sweeps} sweeps\n{rates}"
        if len(self.m2) < LEAST:
            return text
        accepted = torch.tensor(self._accepted, dtype=torch.float64)
        chain = chains_of({"m2": self.m2, "_rates": accepted}, self.fields, {}, 0.0, [None] * len(self.rates))
        value, tau = chain.observables["m2"], chain.tau["m2"]
        return f"{text}\nm^2 = {value}, autocorrelation {tau:.1f} sweeps\n{chain.verdict}"
