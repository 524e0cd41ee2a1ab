"""What a restriction needs to know of the image around the masked pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mera._utils.checks import check_tensor
from mera._utils.errors import InputError
from mera.cones.subplan import PartialStep, Subplan
from mera.graph import Step
from mera.graph.boxes import Box
from mera.graph.executor import run_forward
from mera.graph.local_fields import run_on_box
from mera.graph.runner import Runner


class Constants(NamedTuple):
    """The values of an image that do not change with the variables that a subplan follows.

    Args:
        latents: the latents (1, C_h, n) at the sites of each level.
        variables: for each partial step and then each level, the variables that are not followed, (n,).
        log_prob: the contribution to log p of all events and latents outside of the subplan.
    """

    latents: list[Tensor]
    variables: list[Tensor]
    log_prob: Tensor


class WholeImage:
    """An image in memory, whose surroundings are those of one pass through the whole flow.

    Args:
        runner: the flow's plan with its bijectors, prior and contexts.
        x: one image, (1, C, *shape), in the flow's own space.
        context: the context of the image; None for a flow without context.

    Raises:
        ValueError: if x is not one finite image of the flow's shape, dtype and device; or if a context is missing or
            not of the flow's context shape.
    """

    def __init__(self, runner: Runner, x: Tensor, context: Tensor | None) -> None:
        check_tensor("data", x, runner.plan.input.event_shape, runner.reference)
        if len(x) != 1:
            raise InputError("one image, (1, C, ...)", str(len(x)))
        if not x.isfinite().all():
            n = int((~x.isfinite()).sum())
            raise InputError("finite pixels, any number under the mask", f"{n} NaN or infinite values")
        with torch.inference_mode(False), torch.no_grad():
            self.image = x.detach().clone()
            self._contexts = runner.contexts(context, x)
        self._runner = runner

    def view(self, sites: Tensor) -> tuple[Tensor, Tensor]:
        """The image, (1, C, *shape), and the flat indices (n,) of sites in it, which are those in the lattice."""
        return self.image, sites.to(self.image.device)

    def contexts_of(self, partial: PartialStep) -> Tensor | None:
        """The contexts of the events of a partial step, (n_events, *shape); None if its bijector takes none."""
        with torch.no_grad():
            contexts = self._contexts(partial.step)
        if contexts is None:
            return None
        contexts = contexts.index_select(0, partial.positions.to(contexts.device))
        return contexts if partial.boxes is None or contexts.ndim == 2 else partial.boxes.box.take(contexts)

    @torch.no_grad()
    def of(self, subplan: Subplan) -> Constants:
        """All values that do not change with the variables that a subplan follows.

        The contribution of all events and latents outside of the subplan is summed directly, since subtracting the
        subplan's contribution from the total would lose digits.
        """
        partial_steps = {partial.step: partial for partial in subplan.steps}
        constants: list[Tensor] = []
        x = self.image
        transform = self._runner.forward_transform(self._contexts)

        def transform_and_keep(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            partial = partial_steps.get(step)
            if partial is not None and partial.boxes is not None:
                lattice = step.apply.lattice
                whole = Box.of((0, n) for n in lattice.shape)
                contexts = self._contexts(step)
                bijector = self._runner.bijector(step)
                transformed, by_site = run_on_box(bijector, lattice, events, whole, whole, contexts)
                constants.append(constants_of(partial, partial.boxes.box.take(events)))
                in_core = partial.boxes.core.sites(lattice).flatten()
                return transformed, by_site.flatten(1).index_fill(1, in_core.to(x.device), 0).sum(1)
            transformed, log_det = transform(step, events)
            if partial is not None:
                touched = partial.positions.to(x.device)
                constants.append(constants_of(partial, events.index_select(0, touched)))
                log_det = log_det.index_fill(0, touched, 0)
            return transformed, log_det

        z, rest = run_forward(subplan.plan, x, transform_and_keep)
        latents, constant_latents = [], []
        for values, level in zip(z, subplan.levels, strict=True):
            flat, sites = values.flatten(2), level.sites.to(x.device)
            latents.append(flat.index_select(2, sites))
            constants.append(latents[-1].flatten()[(level.source < 0).to(x.device)])
            outside = torch.ones(flat.shape[2], dtype=torch.bool, device=x.device).index_fill(0, sites, False)
            constant_latents.append(flat[:, :, outside])
        return Constants(latents, constants, rest + self._runner.prior.log_prob(constant_latents))


def constants_of(partial: PartialStep, events: Tensor) -> Tensor:
    """The variables of the events of a partial step, (n_events, *event_shape), that are not followed, in order."""
    values = events.flatten()
    return values[(partial.source[: len(values)] < 0).to(values.device)]
