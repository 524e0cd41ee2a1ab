"""Hamiltonian trajectories of a target density, with a step that is tuned (Duane et al. 1987)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.chains.hamiltonian import HamiltonianChains
from mera.chains.step_size import StepSize
from mera.physics.target import Target

FIRST_STEP = 0.1
LONGEST = 1e4
"""The longest mean length of a trajectory."""
MOST_STEPS = 1000
"""The largest number of leapfrog steps in a trajectory of mean length."""


class Trajectories:
    """Hamiltonian trajectories of many chains, of random lengths with a common step.

    Args:
        length: the mean length of a trajectory with unit masses; lengths vary by half of it, so that no mode of the
            field has a period that always matches the length.
        step: the initial step size.
    """

    def __init__(self, target: Target, length: float, step: float = FIRST_STEP) -> None:
        self.target, self.length = target, length
        self.tuning = StepSize(step, least=length / MOST_STEPS)

    @property
    def step(self) -> float:
        """The step size; `run(tune=True)` changes it."""
        return float(self.tuning.value)

    def run(self, row: Tensor, n: int = 1, tune: bool = False) -> tuple[Tensor, float]:
        """Run n trajectories one after the other; return the new variables (K, d) and the mean acceptance rate.

        Args:
            tune: whether to tune the step towards an acceptance rate of 0.8, which is allowed in the warm-up only.

        Raises:
            FloatingPointError: if the action or its gradient is not finite at the start.
        """
        chains = HamiltonianChains(self.target.log_prob, row)
        if not (chains.value.isfinite().all() and chains.gradient.isfinite().all()):
            raise FloatingPointError("Expected a finite action and gradient of the fields at the start; got others")
        rates = 0.0
        for _ in range(n):
            length = self.length * (0.5 + torch.rand(()).item())
            rate = chains.trajectory(min(self.step, length), max(1, math.ceil(length / self.step))).mean().item()
            rates += rate / n
            if tune:
                self.tuning.tune(rate)
        return chains.x, rates
