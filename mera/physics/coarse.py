"""Hamiltonian trajectories of the coarse latents of a flow, with the fine latents fixed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera.chains.step_size import StepSize
from mera.flow import Flow
from mera.physics.action import Action
from mera.physics.target import latent_target
from mera.physics.trajectories import Trajectories

LENGTH = math.pi / 2
"""The mean length of a trajectory: a quarter of the period of a latent that follows a Gaussian of unit variance."""


class LatentTrajectories:
    r"""Trajectories of all latents of some levels together, at the density :math:`e^{-S(G(z))} |\det dG / dz|`.

    For a well-trained flow G, this density is close to the prior at any lattice size, so that one trajectory makes the
    latents nearly independent. Each leapfrog step is a pass of the flow and its gradient. Level 0 is the finest.
    """

    def __init__(self, flow: Flow, action: Action, levels: Sequence[int]) -> None:
        self.flow, self.action = flow, action
        sizes = torch.tensor([latent.lattice.variables for latent in flow.plan.latents])
        level = torch.arange(len(sizes)).repeat_interleave(sizes)
        self._columns = torch.isin(level, torch.tensor(list(levels))).nonzero()[:, 0].to(flow.device)
        self._trajectories = Trajectories(latent_target(flow, action), LENGTH, step=0.3)

    @property
    def tuning(self) -> StepSize:
        """The step size; `run(tune=True)` changes it."""
        return self._trajectories.tuning

    def run(self, phi: Tensor, tune: bool = False) -> tuple[Tensor, float]:
        """Run one trajectory from fields (K, C, *shape); return the new fields and the mean acceptance rate.

        Args:
            phi: the fields of all chains.
            tune: whether to tune the step towards an acceptance rate of 0.8, which is allowed in the warm-up only.
        """
        latents = self.flow.plan.rows_of(self.flow(phi)[0])
        self._trajectories.target = latent_target(self.flow, self.action, latents, self._columns)
        row, rate = self._trajectories.run(latents[:, self._columns], tune=tune)
        return self._trajectories.target.to_fields(row), rate
