"""Hamiltonian trajectories of fields, of random lengths with a common step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.bijectors.circular import wrap
from mera.physics.action import Action
from mera.sampling.hamiltonian import HamiltonianChains, StepSize

FIRST_STEP, LONGEST, MAX_STEPS = 0.1, 1e4, 1000
"""The initial step, the longest mean length of a trajectory, and the most leapfrog steps in one of mean length."""


class Trajectories:
    """Hamiltonian trajectories of fields (K, C, *shape), of random lengths with a common step and unit masses.

    Lengths vary by half of their mean, so that no mode of the field has a period that always matches the length.
    """

    def __init__(self, action: Action, fields: Tensor, length: float = 1.0) -> None:
        self.length, self.tuning = length, StepSize(FIRST_STEP, least=length / MAX_STEPS)
        self.action, self._shape = action, fields.shape[1:]
        self.move_to(fields)

    def move_to(self, fields: Tensor) -> None:
        """Go on from other fields (K, C, *shape)."""
        self.chains = HamiltonianChains([lambda row: -self.action(row.unflatten(1, self._shape))], fields.flatten(1))
        if not (self.chains.value.isfinite().all() and self.chains.gradients.isfinite().all()):
            raise FloatingPointError("Expected a finite action and gradient of the fields at the start; got others")

    @property
    def fields(self) -> Tensor:
        """The current fields, (K, C, *shape)."""
        return in_domain(self.action, self.chains.x.unflatten(1, self._shape))

    def run(self, n: int = 1, tune: bool = False) -> float:
        """Run n trajectories, of which a warm-up tunes the step, and return the mean acceptance rate."""
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


def is_differentiable(action: Action, fields: Tensor) -> bool:
    """Whether an action has a gradient at fields (K, C, *shape), which Hamiltonian Monte Carlo needs."""
    with torch.enable_grad():
        return action(fields[:1].detach().clone().requires_grad_()).requires_grad
