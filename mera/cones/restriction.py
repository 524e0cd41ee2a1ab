"""Restriction of a flow to masked pixels of one image: only the inference cone of the masked pixels is evaluated."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import cast

import torch
from torch import Tensor, nn

from mera._utils.checks import check_latents, check_tensor
from mera._utils.errors import InputError
from mera.bijectors import Bijector
from mera.cones.cone import Cone, cone_of_data
from mera.cones.recording import Recorded
from mera.cones.regions import Region, sites_of
from mera.cones.stored_image import StoredImage
from mera.cones.subplan import Boxes, PartialStep, make_subplan
from mera.cones.subplan_executor import SubplanExecutor
from mera.cones.surroundings import WholeImage
from mera.graph import Step
from mera.graph.contexts import ContextOfStep
from mera.graph.indexing import indices_at
from mera.graph.local_fields import Around, crop, run_on_box
from mera.graph.runner import Runner


class Restriction:
    """Evaluate log p of an image in which only masked pixels vary, at the cost of their inference cone.

    `Flow.restrict` returns a restriction. Its methods take and return K settings of the masked pixels at once:

    - pixels are (K, C, n) for n masked pixels, in the order of `x[:, :, mask]`;
    - latents are one tensor (K, C_h, n_h) for each level, finest first, in the order of `z[h][:, :, cone.levels[h]]`.

    Values are differentiable in pixels and latents. Parameters are shared with the flow and count as constants. Make a
    new restriction after each training step: an old one would combine the new weights with values computed from old
    weights. `Flow.checkpoint` applies here too: it saves memory where a field bijector is evaluated on a large lattice.

    Args:
        runner: the flow's plan with its bijectors, prior and contexts.
        x: one image, (1, C, *shape), in the flow's own space; or an image in a store on disk, of which only the
            cone is read. log p is then in double precision, as it may have many digits, and `fill` returns
            windows around the region.
        region: the pixels that change: a bool mask, or a span for each dimension.
        context: the context of the image; None for a flow without context.

    Attributes:
        cone: the inference cone of the masked pixels.
        sites: the flat indices of the masked pixels in the lattice, (n,).
        view: the image, (1, C, *shape), or a window of it around the region.
        prior: the flow's prior.
        runner: the flow's runner with bijectors whose parameters count as constants.
        evaluation: log p of pixels, recorded after the first calls; see `Recorded`.

    Raises:
        ValueError: if the region is empty or masks every pixel; if x is not one finite image of the flow's shape, dtype
            and device; if a context is missing or not of the flow's context shape; or if a bijector cannot be copied.
    """

    def __init__(self, runner: Runner, x: Tensor | StoredImage, region: Region, context: Tensor | None = None) -> None:
        plan, self._reference = runner.plan, runner.reference
        surroundings = x if isinstance(x, StoredImage) else WholeImage(runner, x, context)
        self.prior = runner.prior
        with torch.inference_mode(False):  # the tensors kept here take part in gradients later
            self.sites = sites = sites_of(region, plan.input)
            if len(sites) == plan.input.sites:
                raise InputError("a mask that leaves some pixels unmasked", "one that masks them all")
            indices = indices_at(sites, plan.input).flatten()
            self.cone: Cone = cone_of_data(plan, indices)
            self._subplan = make_subplan(plan, indices, is_local=runner.is_local)
            self._executor = SubplanExecutor(self._subplan, self._reference.device)
            bijectors = {part.step.module: runner.bijector(part.step) for part in self._subplan.steps}
            frozen = {key: _without_gradients(bijector) for key, bijector in bijectors.items()}
            self.runner = replace(runner, bijectors=frozen)
            self._contexts = {part.step: surroundings.contexts_of(part) for part in self._subplan.steps}
            self.view, self._places = surroundings.view(sites)
            self._constants = surroundings.of(self._subplan)
            # for each level the columns of the sites in the cone; None if all are (a field bijector computes others)
            self._columns = [
                torch.searchsorted(level.sites, cone_sites).to(self._reference.device)
                if len(cone_sites) < len(level.sites)
                else None
                for level, cone_sites in zip(self._subplan.levels, self.cone.sites, strict=True)
            ]
            self._event_shape = (plan.input.channels, len(sites))
            self._around: dict[Step, Around] = {}
            if any(part.boxes for part in self._subplan.steps):
                with torch.no_grad():
                    self._evaluate(self.pixels)  # fills `_around`
        self.evaluation = Recorded(self._evaluate_log_prob)
        self._decode = Recorded(self._evaluate_pixels)

    def __repr__(self) -> str:
        pixels, latents = self._event_shape[1], self.cone.count
        return f"Restriction({pixels:,} pixels, and {latents:,} latents and {sum(self.cone.blocks):,} blocks)"

    @property
    def pixels(self) -> Tensor:
        """The masked pixels of the image, (1, C, n)."""
        return self.view.flatten(2).index_select(2, self._places)

    @cached_property
    def hidden(self) -> Tensor:
        """Whether a pixel of `view` is masked: bool, the same as `cone.pixels` for a whole image."""
        hidden = torch.zeros(self.view[0, 0].numel(), dtype=torch.bool, device=self.view.device)
        return hidden.index_fill(0, self._places, True).view(self.view.shape[2:])

    @cached_property
    def latent_shapes(self) -> tuple[tuple[int, int], ...]:
        """For each level, finest first, the shape (C_h, n_h) of the latents in the cone."""
        levels = zip(self.cone.plan.latents, self.cone.sites, strict=True)
        return tuple((latent.lattice.channels, len(sites)) for latent, sites in levels)

    @cached_property
    def in_cone(self) -> Tensor:
        """Whether a latent that `encode` returns is in the cone: bool, one entry for each latent, level by level.

        `encode` returns all channels at each site of the cone, also channels that are outside of the cone.
        """
        levels = zip(self.cone.sites, self.cone.plan.latents, strict=True)
        pairs = [(indices_at(sites, v.lattice).flatten(), self.cone.reached[v.value]) for sites, v in levels]
        return torch.cat([torch.isin(indices, reached) for indices, reached in pairs])

    def log_prob(self, pixels: Tensor) -> Tensor:
        """The log-density of the whole image with new values of the masked pixels.

        Args:
            pixels: values of the masked pixels, (K, C, n).

        Returns:
            The log-densities (K,), in nats.

        Raises:
            ValueError: if shape, dtype or device is wrong.
        """
        self._check_pixels(pixels)
        return self.evaluation(pixels)

    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The latents in the cone for new values of the masked pixels; latents outside of the cone do not change.

        Args:
            pixels: values of the masked pixels, (K, C, n).

        Returns:
            The latents, one tensor (K, C_h, n_h) for each level, finest first.

        Raises:
            ValueError: if shape, dtype or device is wrong.
        """
        self._check_pixels(pixels)
        levels, _ = self._evaluate(pixels)
        pairs = zip(levels, self._columns, strict=True)
        return tuple(level if columns is None else level.index_select(2, columns) for level, columns in pairs)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """The masked pixels of the image with new latents in the cone, and with the image's own latents elsewhere.

        `decode` inverts `encode`. For other latents, the whole flow would also change pixels around the mask; changes
        outside of the mask are not computed.

        Args:
            latents: the latents in the cone, one tensor (K, C_h, n_h) for each level, finest first.

        Returns:
            The values of the masked pixels, (K, C, n).

        Raises:
            ValueError: if the number of levels, a shape, dtype or device is wrong.
        """
        check_latents("the cone's latents", latents, self.latent_shapes, self._reference, "K")
        return self._decode(*latents)

    def fill(self, pixels: Tensor) -> Tensor:
        """Copies of `view` with new values of the masked pixels; unmasked pixels are equal bit for bit.

        Args:
            pixels: values of the masked pixels, (K, C, n).

        Returns:
            The images (K, C, *shape), or windows.

        Raises:
            ValueError: if shape, dtype or device is wrong.
        """
        self._check_pixels(pixels)
        images = self.view.repeat(len(pixels), *(1 for _ in self.view.shape[1:]))
        return images.flatten(2).index_copy(2, self._places, pixels).view(images.shape)

    def _evaluate(self, pixels: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The latents (K, C_h, n) at all sites of the subplan, and the log-det (K,) of all events of the subplan."""
        transform = self.runner.forward_transform(self._repeated_context(pixels.shape[0]))
        constants = self._constants
        rows, log_det = self._executor.forward(pixels.flatten(1), constants.variables, transform, self._transform_field)
        levels = zip(rows, constants.latents, strict=True)
        return tuple(row.unflatten(1, base.shape[1:]) for row, base in levels), log_det

    def _transform_field(
        self, partial_step: PartialStep, values: Tensor, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Transform K settings of the box of a local field bijector to its core, or of the core back to the entry."""
        entry, core, box = cast(Boxes, partial_step.boxes)
        step, context = partial_step.step, self._repeated_context(values.shape[0])(partial_step.step)
        bijector, lattice = self.runner.bijector(step), step.apply.lattice
        if inverse:
            context = context if context is None or context.ndim == 2 else crop(context, core, box)
            return run_on_box(bijector, lattice, values, core, entry, context, inverse)
        if step not in self._around:
            first = None if context is None else context[:1]
            self._around[step] = Around(bijector, lattice, values[:1], box, entry, core, first)
        return self._around[step](values, context)

    def _evaluate_log_prob(self, pixels: Tensor) -> Tensor:
        """`log_prob` without checks, the function that is recorded."""
        levels, log_det = self._evaluate(pixels)
        return self.prior.log_prob(levels) + log_det + self._constants.log_prob

    def _evaluate_pixels(self, *latents: Tensor) -> Tensor:
        """`decode` without checks, the function that is recorded."""
        rows = []
        for level, base, columns in zip(latents, self._constants.latents, self._columns, strict=True):
            if columns is not None:
                level = base.expand(level.shape[0], -1, -1).index_copy(2, columns, level)
            rows.append(level.flatten(1))
        transform = self.runner.inverse_transform(self._repeated_context(rows[0].shape[0]))
        pixels = self._executor.inverse(rows, transform, partial(self._transform_field, inverse=True))
        return pixels.unflatten(1, self._event_shape)

    def _repeated_context(self, n_settings: int) -> ContextOfStep:
        """The contexts of the image's events for several settings, one setting after the other."""

        def context_of_step(step: Step) -> Tensor | None:
            context = self._contexts[step]
            return None if context is None else context.repeat(n_settings, *(1 for _ in context.shape[1:]))

        return context_of_step

    def _check_pixels(self, pixels: Tensor) -> None:
        """Raise a ValueError unless pixels have the shape (K, C, n) and the image's dtype and device."""
        check_tensor("pixels", pixels, self._event_shape, self._reference, "K")


def _without_gradients(bijector: Bijector) -> Bijector:
    """A copy of a bijector that shares its parameters' memory, and whose parameters do not require gradients."""
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in bijector.parameters()}
    try:
        return copy.deepcopy(bijector, memo=shared | {id(b): b for b in bijector.buffers()})
    except RuntimeError as error:
        hint = "torch.nn.utils.parametrizations can be copied, hooks that set tensors cannot"
        got = f"{type(bijector).__name__}: {error} ({hint})"
        raise InputError("a bijector that can be copied", got) from error
