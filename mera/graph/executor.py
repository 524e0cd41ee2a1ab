"""Running a plan: every plan, both directions, all patches of a step as one batch.

What the bijectors do is the caller's: `transform(step, events)` returns the transformed events and the log-det of
each. A flow passes its modules; rearranging latents onto the pixels passes the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange, reduce
from torch import Tensor

from mera._utils.torch_private import is_recording
from mera.bijectors.base import zero_log_det
from mera.graph.actions import AXES, Apply, Cut, Regroup
from mera.graph.plan import Plan, Step

__all__ = ["Transform", "event_context", "run_forward", "run_inverse", "transformed"]

Transform = Callable[[Step, Tensor], tuple[Tensor, Tensor]]


def run_forward(plan: Plan, x: Tensor, transform: Transform) -> tuple[tuple[Tensor, ...], Tensor]:
    """Data (B, channels, *shape) to latents, one tensor per level, finest first, and the log-det (B,)."""
    values = {0: x}
    log_det = zero_log_det(x)
    for step in plan.steps:
        value = values.pop(step.source)
        if isinstance(step.action, Apply):
            value, change = _apply(step, step.action, value, transform)
            log_det = log_det + change
            values[step.targets[0]] = value
        else:
            values.update(zip(step.targets, _rearrange(step.action, value), strict=True))
    return tuple(values[latent.value] for latent in plan.latents), log_det


def run_inverse(
    plan: Plan, z: Sequence[Tensor], transform: Transform, watch: Callable[[int, Tensor], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Latents to data, and the log-det (B,) of that direction; `transform` is the inverse of each bijector.

    `watch`, if given, is shown every value that a step consumed, with its number, as it is restored.
    """
    values = {latent.value: level for latent, level in zip(plan.latents, z, strict=True)}
    log_det = zero_log_det(z[0])
    for step in reversed(plan.steps):
        outputs = [values.pop(target) for target in step.targets]
        if isinstance(step.action, Apply):
            values[step.source], change = _apply(step, step.action, outputs[0], transform)
            log_det = log_det + change
        else:
            values[step.source] = _restore(step.action, outputs)
        if watch is not None:
            watch(step.source, values[step.source])
    return values[0], log_det


def _apply(step: Step, action: Apply, x: Tensor, transform: Transform) -> tuple[Tensor, Tensor]:
    """Bring the patches together, transform them, put them back."""
    batch = x.shape[0]
    events, outer = _gathered(action, x)
    changed, log_det = transformed(step, events, transform)
    x = rearrange(changed, _reverse(action.pattern), b=batch, **action.sizes)
    for axis, start, stop in reversed(action.crop):
        x = torch.slice_scatter(outer.pop(), x, axis, start, stop)
    if action.roll:
        x = torch.roll(x, [shift for _, shift in action.roll], [axis for axis, _ in action.roll])
    return x, reduce(log_det, "(b n) -> b", "sum", n=action.events)


def _gathered(action: Apply, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The events of a lattice as one batch; and the lattice before each crop, which hold what is in no event."""
    if action.roll:
        x = torch.roll(x, [-shift for _, shift in action.roll], [axis for axis, _ in action.roll])
    outer = [x]
    for axis, start, stop in action.crop:
        outer.append(outer[-1].narrow(axis, start, stop - start))
    return rearrange(outer.pop(), action.pattern, **action.sizes), outer


def event_context(plan: Plan, action: Apply, context: Tensor) -> Tensor:
    """A context (B, *plan.context) for each event of an action, (B * events, *plan.context_shape(action)).

    That of an image goes to all of its events; that of pixels to the events that hold them. On a coarser lattice the
    context of a site is the mean over the pixels of its cell.
    """
    if plan.context is None or len(plan.context) == 1:
        return context.repeat_interleave(action.events, dim=0)
    cell = tuple(n // coarse for n, coarse in zip(plan.input.shape, action.lattice.shape, strict=True))
    if max(cell) > 1:
        axes = AXES[action.lattice.dim]
        blocks = " ".join(f"({axis} s{axis})" for axis in axes)
        sizes = {f"s{axis}": s for axis, s in zip(axes, cell, strict=True)}
        context = reduce(context, f"b k {blocks} -> b k {' '.join(axes)}", "mean", **sizes)
    return _gathered(action, context)[0]


def transformed(step: Step, events: Tensor, transform: Transform) -> tuple[Tensor, Tensor]:
    """Events of a step, transformed, and the log-det of each; whatever else a bijector returns is refused."""
    result = transform(step, events)
    if not isinstance(result, tuple) or len(result) != 2:
        got = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"node {step.node!r}: Expected events and their log-det from the bijector; got {got}")
    changed, log_det = result
    if is_recording():  # a recording cannot look at shapes, but the calls before it did
        return changed, log_det
    if changed.shape != events.shape or log_det.shape != events.shape[:1]:
        raise ValueError(
            f"node {step.node!r}: Expected events {tuple(events.shape)} and one log-det for each from the bijector; "
            f"got {tuple(changed.shape)} and {tuple(log_det.shape)}"
        )
    return changed, log_det


def _rearrange(action: Regroup | Cut, x: Tensor) -> tuple[Tensor, ...]:
    """The outputs of an action that moves variables and changes none."""
    if isinstance(action, Regroup):
        return (rearrange(x, action.pattern, **action.sizes),)
    return x[:, : action.keep], x[:, action.keep :]


def _restore(action: Regroup | Cut, outputs: list[Tensor]) -> Tensor:
    """The input of an action that moves variables and changes none."""
    if isinstance(action, Regroup):
        return rearrange(outputs[0], _reverse(action.pattern), **action.sizes)
    return torch.cat(outputs, dim=1)


def _reverse(pattern: str) -> str:
    """The einops pattern of the way back."""
    there, back = pattern.split(" -> ")
    return f"{back} -> {there}"
