"""The values of an image that a restriction holds constant."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mera.cones.subplan import Subplan
from mera.graph import Step
from mera.graph.boxes import Box
from mera.graph.executor import run_forward
from mera.graph.local_fields import run_on_box
from mera.graph.runner import ContextOfStep, Runner


class Constants(NamedTuple):
    """The values of an image that do not change with the reached variables of a subplan.

    Args:
        latents: the latents (1, C_h, n) at the sites of each level.
        variables: for each partial step and then each level, the inputs that are not reached, (n,).
        log_prob: the contribution to log p of all events and latents outside of the subplan, (1,).
    """

    latents: list[Tensor]
    variables: list[Tensor]
    log_prob: Tensor


@torch.no_grad()
def constants_of(runner: Runner, x: Tensor, contexts: ContextOfStep, subplan: Subplan) -> Constants:
    """Run the whole flow once, and keep all values that do not change.

    The contribution of all events and latents outside of the subplan is summed directly, since subtracting the
    subplan's contribution from the total would lose digits.

    Args:
        runner: the flow's plan with its bijectors and prior.
        x: the image, (1, C, *shape).
        contexts: the contexts of the events of the image.
        subplan: the subplan.
    """
    partial_steps = {partial.step: partial for partial in subplan.steps}
    variables: list[Tensor] = []
    transform = runner.transform(contexts)

    def keep(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the events of a step; log-dets of events in the subplan count as 0."""
        partial = partial_steps.get(step)
        if partial is None:
            return transform(step, events)
        if partial.boxes is None:
            transformed, log_det = transform(step, events)
            touched = partial.positions.to(x.device)
            inputs = events.index_select(0, touched)
            log_det = log_det.index_fill(0, touched, 0)
        else:
            lattice, (_, core, box) = step.apply.lattice, partial.boxes
            whole = Box.of((0, n) for n in lattice.shape)
            bijector = runner.bijector(step)
            transformed, by_site = run_on_box(bijector, lattice, events, whole, whole, contexts(step))
            inputs = box.take(events)
            log_det = by_site.flatten(1).index_fill(1, core.sites(lattice).flatten().to(x.device), 0).sum(1)
        variables.append(inputs.flatten()[(partial.source[: inputs.numel()] < 0).to(x.device)])
        return transformed, log_det

    z, rest = run_forward(subplan.plan, x, keep)
    latents, outside = [], []
    for values, level in zip(z, subplan.levels, strict=True):
        flat, sites = values.flatten(2), level.sites.to(x.device)
        latents.append(flat.index_select(2, sites))
        variables.append(latents[-1].flatten()[(level.source < 0).to(x.device)])
        is_outside = torch.ones(flat.shape[2], dtype=torch.bool, device=x.device).index_fill(0, sites, False)
        outside.append(flat[:, :, is_outside])
    return Constants(latents, variables, rest + runner.prior.log_prob(outside))
