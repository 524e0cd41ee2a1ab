"""The passes of a plan in both directions, with all patches of a step as one batch.

The caller passes a function `run_step(step, events)` that returns the transformed events and their log-dets. A flow
calls its bijectors in `run_step`; other callers only move or mark variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from mera.bijectors.base import total, zero_log_det
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step

StepFunction = Callable[[Step, Tensor], tuple[Tensor, Tensor]]
"""From a step and its events (n, *event_shape) to the transformed events and the log-det (n,) of each."""


def run_forward(plan: Plan, x: Tensor, run_step: StepFunction) -> tuple[tuple[Tensor, ...], Tensor]:
    """Run the steps of a plan in order on data (B, channels, *shape).

    Returns:
        The latents, one tensor for each level, finest first; and the log-det (B,).
    """
    values, log_dets = {0: x}, [zero_log_det(x)]
    for step in plan.steps:
        operation: Any = step.operation
        value = values.pop(step.source)
        if step.module:
            events, outer = operation.gather(value)
            events, log_det = run_step(step, events)
            values[step.targets[0]] = operation.scatter(events, outer, x.shape[0])
            log_dets.append(log_det.reshape(x.shape[0], operation.events).sum(1))
        else:
            values.update(zip(step.targets, operation.forward(value), strict=True))
    return tuple([values[latent.value] for latent in plan.latents]), total(log_dets)


def run_inverse(
    plan: Plan,
    z: Sequence[Tensor],
    run_step: StepFunction,
    coarse: Tensor | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the steps of a plan backwards.

    Args:
        z: latents, one tensor for each level, finest first; with `coarse`, those of the finest levels alone.
        coarse: the lattice at which the first level without latents in `z` begins, the value `plan.entries[len(z)]`;
            None if `z` has all levels.
        watch: called with the number and the tensor of each value that the pass computes, if not None.

    Returns:
        The data (B, channels, *shape), and the log-det (B,) of the inverse.
    """
    values = {latent.value: level for latent, level in zip(plan.latents, z, strict=coarse is None)}
    if coarse is not None:
        values[plan.entries[len(z)]] = coarse
    n, log_dets = z[0].shape[0], [zero_log_det(z[0])]
    for step in reversed(plan.steps):
        if coarse is not None and step.level >= len(z):
            continue
        operation: Any = step.operation
        if step.module:
            events, outer = operation.gather(values.pop(step.targets[0]))
            events, log_det = run_step(step, events)
            value = operation.scatter(events, outer, n)
            log_dets.append(log_det.reshape(n, operation.events).sum(1))
        else:
            value = operation.inverse([values.pop(target) for target in step.targets])
        values[step.source] = value
        if watch is not None:
            watch(step.source, value)
    return values[0], total(log_dets)


def spread_evenly(operation: Apply, log_det: Tensor, batch: int) -> Tensor:
    """The log-dets (batch * events,), spread evenly over the sites of events, (batch, *shape), with 0 elsewhere."""
    sites = operation.event_shape[1:]
    share = (log_det / math.prod(sites)).view(-1, 1, *(1 for _ in sites)).expand(-1, 1, *sites)
    _, zeros = operation.gather(log_det.new_zeros(batch, 1, *operation.lattice.shape))
    return operation.scatter(share, zeros, batch)[:, 0]
