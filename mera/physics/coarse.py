"""Hamiltonian trajectories of the coarse latents of a flow, with the fine latents fixed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera.chains.step_size import StepSize
from mera.flow import Flow
from mera.physics.action import Action
from mera.physics.target import Target
from mera.physics.trajectories import Trajectories

LENGTH = math.pi / 2
"""The mean length of a trajectory: a quarter of the period of a latent that follows a Gaussian of unit variance."""


class LatentTrajectories:
    r"""Trajectories of all latents of some levels together, at the density :math:`e^{-S(G(z))} |\det dG / dz|`.

    For a well-trained flow G, this density is close to the prior at any lattice size, so that one trajectory makes the
    latents nearly independent. Each leapfrog step is a pass of the flow and its gradient. Level 0 is the finest.
    """

    def __init__(self, flow: Flow, action: Action, levels: Sequence[int]) -> None:
        self.flow, self.action, self.levels = flow, action, sorted(levels)
        self._latents: list[Tensor] = []
        self._sizes = [flow.plan.latents[level].lattice.variables for level in self.levels]
        self._trajectories = Trajectories(Target(self._log_prob, self._generate), LENGTH, step=0.3)

    @property
    def tuning(self) -> StepSize:
        """The step size as it is tuned."""
        return self._trajectories.tuning

    @property
    def step(self) -> float:
        """The step size; `run(tune=True)` changes it."""
        return self._trajectories.step

    def run(self, phi: Tensor, tune: bool = False) -> tuple[Tensor, float]:
        """Run one trajectory from fields (K, C, *shape); return the new fields and the mean acceptance rate.

        Args:
            phi: the fields of all chains.
            tune: whether to tune the step towards an acceptance rate of 0.8, which is allowed in the warm-up only.
        """
        self._latents = list(self.flow(phi)[0])
        row = torch.cat([self._latents[level].flatten(1) for level in self.levels], dim=1)
        row, rate = self._trajectories.run(row, tune=tune)
        return self._generate(row), rate

    def _pass(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Generate fields from coarse latents (K, d) and the fixed fine latents; return the fields and the log-det."""
        latents = list(self._latents)
        for level, part in zip(self.levels, row.split(self._sizes, dim=1), strict=True):
            latents[level] = part.view_as(latents[level])
        return self.flow.inverse(latents)

    def _log_prob(self, row: Tensor) -> Tensor:
        """The log-density of coarse latents up to a constant, (K,)."""
        phi, log_det = self._pass(row)
        return log_det - self.action(phi)

    def _generate(self, row: Tensor) -> Tensor:
        """Generate fields from coarse latents."""
        return self._pass(row)[0]
