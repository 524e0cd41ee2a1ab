"""Restriction of a flow to masked pixels of one image: only the inference cone of the masked pixels is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from mera._utils.checks import check_latents, check_tensor
from mera._utils.errors import InputError
from mera.bijectors.boxes import Box
from mera.bijectors.local import run_on_box
from mera.cones.cone import CPU, Cone, inference_cone
from mera.cones.recording import Recorded
from mera.cones.regions import Region
from mera.cones.subplan import Subplan
from mera.executor.contexts import Context
from mera.executor.passes import run_forward
from mera.executor.plan_module import ContextOfStep, PlanModule
from mera.graph import Step
from mera.graph.indexing import indices_at


class Restriction:
    """Evaluate log p of an image in which only masked pixels vary, at the cost of their inference cone.

    `Flow.restrict` returns a restriction. Its methods take and return K settings of the masked pixels at once:

    - pixels are (K, C, n) for n masked pixels, in the order of `x[:, :, mask]`;
    - latents are one tensor (K, C_h, n_h) for each level, finest first, in the order of `z[h][:, :, cone.levels[h]]`.

    A restriction is a snapshot: it keeps copies of the modules that it evaluates, so that its values are those of the
    flow as it was when `Flow.restrict` was called, whatever happens to the flow later. Values are differentiable in
    pixels and latents; parameters count as constants. `Flow.checkpoint` applies here too: it saves memory where a field
    bijector is evaluated on a large lattice, and evaluation is then not recorded.

    Args:
        flow: the flow.
        x: one image, (1, C, *shape), in the flow's own space.
        region: the pixels that change: those of a cone, a bool mask, or a span for each dimension.
        context: the context of the image; None for a flow without context.

    Attributes:
        cone: the inference cone of the masked pixels.
        sites: the flat indices of the masked pixels in the lattice, (n,).
        image: the image, (1, C, *shape).
        prior: a copy of the flow's prior.
        flow: the flow with copies of the modules that are evaluated, whose parameters count as constants.
        evaluation: log p of pixels, recorded after the first calls; see `Recorded`.
    """

    def __init__(self, flow: PlanModule, x: Tensor, region: Region | Cone, context: Context | None = None) -> None:
        plan = flow.plan
        check_tensor("data", x, plan.input.event_shape, flow.reference)
        if len(x) != 1:
            raise InputError("one image, (1, C, ...)", str(len(x)))
        if not x.isfinite().all():
            n = int((~x.isfinite()).sum())
            raise InputError("finite pixels, any number under the mask", f"{n} NaN or infinite values")
        self.cone = inference_cone(plan, region.pixels if isinstance(region, Cone) else region)
        with torch.inference_mode(False), CPU:  # the tensors kept here take part in gradients later
            self.sites = (self.cone.reached[0] // plan.input.channels).unique()
            if len(self.sites) == plan.input.sites:
                raise InputError("a mask that leaves some pixels unmasked", "one that masks them all")
            self.image = x.detach().clone()
            self._places = self.sites.to(x.device)
            indices = indices_at(self.sites, plan.input).flatten()
            self._subplan = Subplan(plan, indices, flow.is_local, x.device)
            levels = zip(self._subplan.levels, self.cone.sites, strict=True)
            self._columns = [torch.searchsorted(level.sites, sites).to(x.device) for level, sites in levels]
            with torch.no_grad():
                contexts = flow.contexts(context, x)
                self._contexts = self._subplan.contexts(flow, context)
            constants = _constants_of(flow, self.image, contexts, self._subplan)
            self._latents, self._constants, self._log_prob_outside = constants
            self.flow = flow.with_copies({part.step.module for part in self._subplan.steps})
            self.prior = self.flow.prior
            self._event_shape = (plan.input.channels, len(self.sites))
        self.evaluation = Recorded(self._evaluate_log_prob, not flow.keeps_inputs)
        self._decode = Recorded(self._evaluate_pixels, not flow.keeps_inputs)

    def __repr__(self) -> str:
        pixels, latents = self._event_shape[1], self.cone.count
        return f"Restriction({pixels:,} pixels, and {latents:,} latents and {sum(self.cone.blocks):,} blocks)"

    @property
    def pixels(self) -> Tensor:
        """The masked pixels of the image, (1, C, n)."""
        return self.image.flatten(2).index_select(2, self._places)

    @cached_property
    def hidden(self) -> Tensor:
        """The bool mask of the masked pixels, `cone.pixels`, on the device of the image."""
        return self.cone.pixels.to(self.image.device)

    @cached_property
    def latent_shapes(self) -> tuple[tuple[int, int], ...]:
        """For each level, finest first, the shape (C_h, n_h) of the latents in the cone."""
        levels = zip(self.cone.plan.latents, self.cone.sites, strict=True)
        return tuple((latent.lattice.channels, len(sites)) for latent, sites in levels)

    @cached_property
    def in_cone(self) -> Tensor:
        """A bool tensor with an entry for each latent of `encode`, level by level, true if the latent is in the cone.

        `encode` returns all channels at each site of the cone, also channels that are outside of the cone.
        """
        levels = zip(self.cone.sites, self.cone.plan.latents, strict=True)
        pairs = [(indices_at(sites, v.lattice).flatten(), self.cone.reached[v.value]) for sites, v in levels]
        return torch.cat([torch.isin(indices, reached) for indices, reached in pairs])

    def log_prob(self, pixels: Tensor) -> Tensor:
        """The log-densities (K,), in nats, of the whole image with new pixels (K, C, n) under the mask."""
        self._check_pixels(pixels)
        return self.evaluation(pixels)

    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The latents in the cone, (K, C_h, n_h) for each level, finest first, for new pixels (K, C, n) under the mask.

        Latents outside of the cone do not change.
        """
        self._check_pixels(pixels)
        levels, _ = self._evaluate(pixels)
        return tuple(level.index_select(2, columns) for level, columns in zip(levels, self._columns, strict=True))

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """The masked pixels, (K, C, n), of the image with new latents in the cone, and with its own latents elsewhere.

        `decode` inverts `encode`, and takes the latents as `encode` returns them. For other latents, the whole flow
        would also change pixels around the mask; changes outside of the mask are not computed.
        """
        check_latents("the cone's latents", latents, self.latent_shapes, self.image, "K")
        return self._decode(*latents)

    def fill(self, pixels: Tensor) -> Tensor:
        """Copies (K, C, *shape) of `image`, equal bit for bit but for new pixels (K, C, n) under the mask."""
        self._check_pixels(pixels)
        images = self.image.repeat(len(pixels), *(1 for _ in self.image.shape[1:]))
        return images.flatten(2).index_copy(2, self._places, pixels).view(images.shape)

    def _evaluate(self, pixels: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The latents (K, C_h, n) at all sites of the subplan, and the log-det (K,) of all events of the subplan."""
        contexts = self._repeated_context(pixels.shape[0])
        rows, log_det = self._subplan.forward(pixels.flatten(1), self._constants, self.flow, contexts)
        levels = zip(rows, self._latents, strict=True)
        return tuple(row.unflatten(1, base.shape[1:]) for row, base in levels), log_det

    def _evaluate_log_prob(self, pixels: Tensor) -> Tensor:
        """`log_prob` without checks, the function that is recorded."""
        levels, log_det = self._evaluate(pixels)
        return self.prior.log_prob(levels) + log_det + self._log_prob_outside

    def _evaluate_pixels(self, *latents: Tensor) -> Tensor:
        """`decode` without checks, the function that is recorded."""
        rows, contexts = [], self._repeated_context(latents[0].shape[0])
        for level, base, columns in zip(latents, self._latents, self._columns, strict=True):
            rows.append(base.expand(level.shape[0], -1, -1).index_copy(2, columns, level).flatten(1))
        return self._subplan.inverse(rows, self.flow, contexts).unflatten(1, self._event_shape)

    def _repeated_context(self, n_settings: int) -> ContextOfStep:
        """The contexts of the image's events for several settings, one setting after the other."""

        def context_of_step(step: Step) -> Tensor | None:
            context = self._contexts[step]
            return None if context is None else context.repeat(n_settings, *(1 for _ in context.shape[1:]))

        return context_of_step

    def _check_pixels(self, pixels: Tensor) -> None:
        """Raise an error unless pixels have the shape (K, C, n) and the image's dtype and device."""
        check_tensor("pixels", pixels, self._event_shape, self.image, "K")


@torch.no_grad()
def _constants_of(
    flow: PlanModule, x: Tensor, contexts: ContextOfStep, subplan: Subplan
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Run the whole flow once on an image (1, C, *shape), and keep all values that do not change.

    Returns:
        The latents (1, C_h, n) at the sites of each level; for each partial step and then each level, the inputs that
        are not reached, (n,); and the contribution to log p of all events and latents outside of the subplan, (1,). It
        is summed directly, since subtracting the subplan's contribution from the total would lose digits.
    """
    partial_steps = {partial.step: partial for partial in subplan.steps}
    variables: list[Tensor] = []
    run_step = flow.step_function(contexts)

    def keep(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the events of a step; log-dets of events in the subplan count as 0."""
        partial = partial_steps.get(step)
        if partial is None:
            return run_step(step, events)
        if partial.boxes is None:
            transformed, log_det = run_step(step, events)
            touched = partial.positions.to(x.device)
            inputs = events.index_select(0, touched)
            log_det = log_det.index_fill(0, touched, 0)
        else:
            lattice, (_, core, box) = step.apply.lattice, partial.boxes
            whole = Box.whole(lattice.shape)
            bijector = flow.bijector(step)
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
    return latents, variables, rest + flow.prior.log_prob(outside)
