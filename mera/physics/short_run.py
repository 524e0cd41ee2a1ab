"""Fields of a target density from a short run of Hamiltonian Monte Carlo, for checks and for starts."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.flow.density import Density
from mera.physics.action import Action
from mera.physics.trajectories import Trajectories

START, BETWEEN = 100, 10
"""The trajectories of each chain before its first field, and between its fields."""
CHAINS, LEAST_CHAINS, SNAPSHOTS = 64, 16, 4
"""The most and the fewest chains that check a flow, and the number of fields of each of these chains."""
VALUES = 2**18
"""The approximate upper limit of the numbers in a field of all chains that check a flow."""


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
    check_count(snapshots, "snapshots")
    check_count(warmup, "warmup", 0)
    if start.ndim < 3 or not len(start) or not start.is_floating_point():
        raise InputError("initial fields of floats, (K, C, *shape)", f"{start.dtype} of shape {tuple(start.shape)}")
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
    """Initial fields of chains, (chains, C, *shape): half are samples of the flow, half of a short run from noise.

    R-hat shows whether the two groups agree; chains that all began in the flow would not show what the flow misses. For
    an action without a gradient all fields are samples of the flow, and a warning says so.

    Args:
        action: the action.
        flow: the flow.
        chains: the number of chains; a single one starts from the flow.
    """
    fields = flow.sample(chains).clone()
    if not is_differentiable(action, fields):
        warnings.warn(
            "Expected an action with a gradient, so that half of the chains start elsewhere than in the flow; got "
            "none: a mode that the flow misses would not show", stacklevel=7,
        )  # fmt: skip
    elif chains > 1:
        noise = torch.randn(chains // 2, *fields.shape[1:]).to(fields)
        fields = torch.cat([fields[len(noise) :], short_run(action, noise)])
    return fields


def fields_of(action: Action, flow: Density) -> Tensor | None:
    """Approximate samples of a target for a check of a flow, (N, C, *shape); None for an action without a gradient.

    The chains start from unit noise, with the same random numbers at each call.

    Args:
        action: the action.
        flow: the flow, which says the shape, the dtype and the device of a field.
    """
    lattice = flow.plan.input
    chains = max(LEAST_CHAINS, min(CHAINS, VALUES // lattice.variables))
    with fixed_seed(0):
        start = torch.randn(chains, *lattice.event_shape).to(flow.device, flow.dtype)
        return short_run(action, start, SNAPSHOTS) if is_differentiable(action, start) else None
