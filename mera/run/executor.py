"""The executor: runs any plan in both directions, with all patches of a step as one batch.

The caller passes a function `transform(step, events)` that returns the transformed events and their log-dets. A flow
calls its bijectors in `transform`; other callers only move or mark variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

import torch
from einops import rearrange, reduce
from torch import Tensor

from mera.bijectors.base import checked_result, zero_log_det
from mera.graph.operations import Apply, Cut, Regroup
from mera.graph.plan import Plan, Step

Transform = Callable[[Step, Tensor], tuple[Tensor, Tensor]]
"""From a step and its events (n, *event_shape) to the transformed events and the log-det (n,) of each."""


def run_forward(plan: Plan, x: Tensor, transform: Transform) -> tuple[tuple[Tensor, ...], Tensor]:
    """Run the steps of a plan in order.

    Args:
        plan: the plan.
        x: data (B, channels, *shape).
        transform: transforms the events of a step.

    Returns:
        The latents, one tensor for each level, finest first; and the log-det (B,).
    """
    values = {0: x}
    log_det = zero_log_det(x)
    for step in plan.steps:
        value = values.pop(step.source)
        if isinstance(step.operation, Apply):
            value, change = _apply(step, step.operation, value, transform)
            log_det = log_det + change
            values[step.targets[0]] = value
        else:
            values.update(zip(step.targets, _rearrange(step.operation, value), strict=True))
    return tuple(values[latent.value] for latent in plan.latents), log_det


def run_inverse(
    plan: Plan, z: Sequence[Tensor], transform: Transform, watch: Callable[[int, Tensor], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Run the steps of a plan backwards.

    Args:
        plan: the plan.
        z: latents, one tensor for each level, finest first.
        transform: transforms the events of a step back.
        watch: called with the number and the tensor of each value that the pass computes, if not None.

    Returns:
        The data (B, channels, *shape), and the log-det (B,) of the inverse.
    """
    values = {latent.value: level for latent, level in zip(plan.latents, z, strict=True)}
    log_det = zero_log_det(z[0])
    for step in reversed(plan.steps):
        outputs = [values.pop(target) for target in step.targets]
        if isinstance(step.operation, Apply):
            values[step.source], change = _apply(step, step.operation, outputs[0], transform)
            log_det = log_det + change
        else:
            values[step.source] = _restore(step.operation, outputs)
        if watch is not None:
            watch(step.source, values[step.source])
    return values[0], log_det


def _apply(step: Step, operation: Apply, x: Tensor, transform: Transform) -> tuple[Tensor, Tensor]:
    """Gather the events of a step in one batch, transform them, and write them back to their sites."""
    batch = x.shape[0]
    events, outer = gather_events(operation, x)
    changed, log_det = transform_events(step, events, transform)
    x = rearrange(changed, operation.inverse_pattern, b=batch, **operation.sizes)
    for axis, start, stop in reversed(operation.crop):
        x = torch.slice_scatter(outer.pop(), x, axis, start, stop)
    if operation.roll:
        x = torch.roll(x, [shift for _, shift in operation.roll], [axis for axis, _ in operation.roll])
    return x, reduce(log_det, "(b n) -> b", "sum", n=operation.events)


def gather_events(operation: Apply, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Gather the events of an operation in one batch.

    Args:
        operation: the operation.
        x: values on the operation's lattice, (B, channels, *shape), with any number of channels.

    Returns:
        The events (B * events, *event_shape); and the values before each crop at an open border, since events do not
        contain the variables outside of the crop.
    """
    if operation.roll:
        x = torch.roll(x, [-shift for _, shift in operation.roll], [axis for axis, _ in operation.roll])
    outer = [x]
    for axis, start, stop in operation.crop:
        outer.append(outer[-1].narrow(axis, start, stop - start))
    return rearrange(outer.pop(), operation.pattern, **operation.sizes), outer


def transform_events(step: Step, events: Tensor, transform: Transform) -> tuple[Tensor, Tensor]:
    """Transform the events (n, *event_shape) of a step to events and the log-det (n,) of each event.

    Raises:
        ValueError: if the transform returns anything else; the message names the node.
    """
    return checked_result(transform(step, events), events, where=f"node {step.node!r}")


def _rearrange(operation: Regroup | Cut, x: Tensor) -> tuple[Tensor, ...]:
    """The outputs of an operation that only moves variables."""
    match operation:
        case Regroup():
            return (rearrange(x, operation.pattern, **operation.sizes),)
        case Cut():
            return x[:, : operation.keep], x[:, operation.keep :]
        case _:
            assert_never(operation)


def _restore(operation: Regroup | Cut, outputs: list[Tensor]) -> Tensor:
    """The input of an operation that only moves variables, from its outputs."""
    match operation:
        case Regroup():
            return rearrange(outputs[0], operation.inverse_pattern, **operation.sizes)
        case Cut():
            return torch.cat(outputs, dim=1)
        case _:
            assert_never(operation)
