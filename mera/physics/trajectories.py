"""Hamiltonian trajectories of fields, which samplers and checks of actions share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.bijectors.circular import wrap
from mera.physics.action import Action
from mera.sampling.hamiltonian import HamiltonianChains
from mera.sampling.step_size import StepSize

FIRST_STEP, LONGEST, MOST_STEPS = 0.1, 1e4, 1000
"""The initial step, the longest mean length of a trajectory, and the most leapfrog steps in one of mean length."""


class Trajectories:
    """Hamiltonian trajectories of fields, of random lengths with a common step.

    Args:
        action: the action, which must be differentiable.
        fields: the initial fields of K chains, (K, C, *shape).
        length: the mean length of a trajectory with unit masses; lengths vary by half of it, so that no mode of the
            field has a period that always matches the length.

    Raises:
        FloatingPointError: if the action or its gradient is not finite at the initial fields.
    """

    def __init__(self, action: Action, fields: Tensor, length: float = 1.0) -> None:
        self.length, self.tuning = length, StepSize(FIRST_STEP, least=length / MOST_STEPS)
        self._action, self._shape = action, fields.shape[1:]
        self.move_to(fields)

    def move_to(self, fields: Tensor) -> None:
        """Go on from other fields (K, C, *shape)."""
        self.chains = HamiltonianChains(lambda row: -self._action(row.unflatten(1, self._shape)), fields.flatten(1))
        if not (self.chains.value.isfinite().all() and self.chains.gradient.isfinite().all()):
            raise FloatingPointError("Expected a finite action and gradient of the fields at the start; got others")

    @property
    def fields(self) -> Tensor:
        """The current fields, (K, C, *shape)."""
        return in_domain(self._action, self.chains.x.unflatten(1, self._shape))

    def run(self, n: int = 1, tune: bool = False) -> float:
        """Run n trajectories one after the other, and return the mean acceptance rate.

        Args:
            n: the number of trajectories.
            tune: whether to tune the step towards an acceptance rate of 0.8, which is allowed in the warm-up only.
        """
        rates = 0.0
        for _ in range(n):
            length, step = self.length * (0.5 + torch.rand(()).item()), float(self.tuning.value)
            rate = self.chains.trajectory(min(step, length), max(1, math.ceil(length / step))).mean().item()
            rates += rate / n
            if tune:
                self.tuning.tune(rate)
        return rates


def in_domain(action: Action, phi: Tensor) -> Tensor:
    """Wrap fields to [-pi, pi) for an action of angles, and return other fields unchanged."""
    return wrap(phi) if action.is_compact else phi
