"""Fields of a target density from a short run of Hamiltonian Monte Carlo, for checks and for starts."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.physics.action import Action
from mera.physics.target import field_target
from mera.physics.trajectories import Trajectories

START, BETWEEN = 100, 10
"""The trajectories of each chain before its first field, and between its fields."""


def is_differentiable(action: Action, fields: Tensor) -> bool:
    """Whether an action has a gradient at fields (K, C, *shape), which Hamiltonian Monte Carlo needs."""
    with torch.enable_grad():
        return action(fields[:1].detach().clone().requires_grad_()).requires_grad


@torch.no_grad()
def short_run(action: Action, start: Tensor, snapshots: int = 1, warmup: int = START) -> Tensor:
    """Fields of chains of Hamiltonian Monte Carlo: approximate samples of the target, (snapshots * K, C, *shape).

    Args:
        action: the action, which must be differentiable.
        start: the initial fields of K chains, (K, C, *shape).
        snapshots: the number of fields of each chain.
        warmup: the number of trajectories before the first field, which tune the step.

    Raises:
        ValueError: if the action is not differentiable.
        FloatingPointError: if the action or its gradient is not finite at the initial fields.
    """
    target = field_target(action, start.shape[1:])
    trajectories, fields = Trajectories(target, length=1.0), []
    row, _ = trajectories.run(start.flatten(1), warmup, tune=True)
    for snapshot in range(snapshots):
        if snapshot:
            row, _ = trajectories.run(row, BETWEEN)
        fields.append(target.to_fields(row))
    return torch.cat(fields)
