"""A search for the first node whose values or gradients are not finite."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mera.density import Density
from mera.graph import Step
from mera.run.executor import run_forward
from mera.train.objective import Batch, Objective


def first_not_finite(density: Density, objective: Objective, batch: Batch) -> str | None:
    """Name the first node whose output or gradients are infinite or NaN for a batch, and its level.

    Args:
        density: the flow before the step that failed; its gradients are overwritten.

    Returns:
        Words such as "the output of node 'decimator1' at level 1"; None if everything is finite.
    """
    flow = density.flow
    events: list[tuple[Step, Tensor, Tensor]] = []
    runner = replace(flow.runner, checkpoint=False)

    def transform_and_keep(step: Step, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = transform(step, x)
        if y.requires_grad:
            y.retain_grad()
        events.append((step, y, log_det))
        return y, log_det

    with torch.enable_grad():
        flow.zero_grad()
        x, context = density.orbit(*objective.data(density, batch))
        if not x.isfinite().all():
            return f"the {objective.name}, before any node"
        if (place := objective.not_finite(x)) is not None:
            return place
        transform = runner.forward_transform(runner.contexts(context, x))
        z, log_det = run_forward(flow.plan, x, transform_and_keep)
        for step, y, change in events:
            if not (y.isfinite().all() and change.isfinite().all()):
                return f"the output of node {step.node!r} at level {step.level}"
        log_prob = flow.prior.log_prob(z)
        if not log_prob.isfinite().all():
            return "the density of the latents"
        (log_prob + log_det).mean().backward()
    for step, y, _ in reversed(events):  # gradients come from the latents
        if y.grad is not None and not y.grad.isfinite().all():
            return f"the gradient that enters node {step.node!r} at level {step.level} from the latents"
        gradients = [p.grad for p in flow.bijectors[step.module].parameters() if p.grad is not None]
        if not all(gradient.isfinite().all() for gradient in gradients):
            return f"the gradient in node {step.node!r} at level {step.level}"
    return None
