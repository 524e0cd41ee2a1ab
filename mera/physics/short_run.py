"""Short runs of Hamiltonian Monte Carlo: fields near the target, for checks of a flow and for starts of chains."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from mera._utils.random import fixed_seed
from mera.flow.density import Density
from mera.physics.action import Action
from mera.physics.starts import starts
from mera.physics.trajectories import Trajectories, is_differentiable

START, BETWEEN = 100, 10
"""The trajectories of each chain before its first field, and between its fields."""
MAX_CHAINS, MIN_CHAINS, SNAPSHOTS = 64, 16, 4
"""The most and the fewest chains that check a flow, and the number of fields of each of these chains."""
MAX_VALUES = 2**18
"""The approximate upper limit of the numbers in a field of all chains that check a flow."""


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
    trajectories, fields = Trajectories(action, start), []
    trajectories.run(warmup, tune=True)
    for snapshot in range(snapshots):
        if snapshot:
            trajectories.run(BETWEEN)
        fields.append(trajectories.fields)
    return torch.cat(fields)


@torch.inference_mode(False)
@torch.no_grad()
def start_of_chains(action: Action, flow: Density, chains: int) -> Tensor:
    """Initial fields of chains, (chains, C, *shape): half are samples of the flow, half of a short run from `starts`.

    R-hat shows whether the two groups agree; chains that all began in the flow would not show what the flow misses. For
    an action without a gradient all fields are samples of the flow, and a warning says so.
    """
    fields = flow.sample(chains).clone()
    if not is_differentiable(action, fields):
        warnings.warn(
            "Expected an action with a gradient, so that half of the chains start elsewhere than in the flow; got "
            "none: a mode that the flow misses would not show", stacklevel=7,
        )  # fmt: skip
    elif chains > 1:
        others = starts(action, fields.shape[1:], chains // 2).to(fields)
        fields = torch.cat([fields[len(others) :], short_run(action, others)])
    return fields


def fields_of(action: Action, flow: Density) -> Tensor | None:
    """Approximate samples of a target for a check of a flow, (N, C, *shape); None for an action without a gradient.

    The chains start from over-dispersed fields, see `starts`, with the same random numbers at each call.
    """
    lattice = flow.plan.input
    chains = max(MIN_CHAINS, min(MAX_CHAINS, MAX_VALUES // lattice.variables))
    with fixed_seed(0):
        start = starts(action, lattice.event_shape, chains).to(flow.device, flow.dtype)
        return short_run(action, start, SNAPSHOTS) if is_differentiable(action, start) else None
