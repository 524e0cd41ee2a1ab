"""Step sizes that are tuned to a target acceptance rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

HAMILTONIAN = 0.8
"""The target acceptance rate of Hamiltonian trajectories."""


class StepSize:
    r"""A step size, tuned by stochastic approximation (Robbins & Monro 1951).

    After the t-th proposal with the acceptance rate r, :math:`\ln \epsilon` grows by :math:`(r - r^*) / \sqrt{t}` for
    the target rate :math:`r^*`.

    Args:
        value: the initial step size, a number or a tensor with a step size for each chain.
        target: the target acceptance rate.
        least: the smallest step size.
        most: the largest step size.
    """

    def __init__(
        self, value: float | Tensor, target: float = HAMILTONIAN, least: float = 0.0, most: float = math.inf
    ) -> None:
        self.value, self.target, self.least, self.most = value, target, least, most
        self._proposals = 0

    def tune(self, rate: float | Tensor) -> None:
        """Update the step size from the acceptance rate of the last proposal, of the shape of the step size."""
        self._proposals += 1
        change = (rate - self.target) / self._proposals**0.5
        if isinstance(change, Tensor):
            self.value = torch.as_tensor(self.value * change.exp()).clamp(self.least, self.most)
        else:
            self.value = min(self.most, max(self.least, float(self.value) * math.exp(change)))

    def state(self) -> Tensor:
        """The step size (or step sizes) and the count of proposals, for `restore`."""
        return torch.cat([torch.as_tensor(self.value, dtype=torch.float64).flatten(), torch.tensor([self._proposals])])

    def restore(self, state: Tensor) -> None:
        """Go on from a `state`."""
        values, self._proposals = state[:-1], int(state[-1])
        self.value = values.view_as(self.value).to(self.value) if isinstance(self.value, Tensor) else values.item()

    def restart(self) -> None:
        """Reset the proposal count, so that the next proposals change the step size as much as the first ones did."""
        self._proposals = 0
