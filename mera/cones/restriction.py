"""A flow around one image, evaluated where some of its pixels change and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from mera._utils.checks import check_levels, check_tensor
from mera.bijectors import Bijector
from mera.bijectors.base import context_arguments
from mera.cones.cone import Cone, inference_cone
from mera.cones.executor import LocalExecutor
from mera.cones.indexing import variables_at
from mera.cones.recording import Recorded
from mera.cones.subplan import Pieces, localize
from mera.graph import Plan, Step, run_forward
from mera.priors import Prior

__all__ = ["Restriction"]


class Restriction:
    """What `Flow.restrict` returns: log p of an image in which only masked pixels vary, at the cost of their cone.

    Shapes: `pixels` are (K, C, n), K settings of the n masked pixels, which are in the order of `x[:, :, mask]`;
    latents are one tensor per level, (K, C_h, n_h), in the order of `z[h][:, :, cone.levels[h]]`. Everything is
    differentiable in these. Parameters are shared with the flow and count as constants: after a step of training this
    object would mix new weights with old values, so restrict again.

    Args:
        plan: the flow's plan.
        bijector: the bijector of each step.
        prior: the flow's prior.
        x: one image, (1, C, *shape), which the caller has checked.
        sites: the masked sites, in order.
        given: the context of each step's events for this image; None for a step without.

    Attributes:
        cone: the inference cone of the masked pixels.
        mask: the masked pixels, bool.
        prior: the flow's prior.
    """

    def __init__(
        self,
        plan: Plan,
        bijector: Callable[[Step], Bijector],
        prior: Prior,
        x: Tensor,
        sites: Tensor,
        given: Callable[[Step], Tensor | None],
    ) -> None:
        numbers = variables_at(sites, plan.input).flatten()
        self.cone: Cone = inference_cone(plan, numbers)
        self.mask = self.cone.pixels.to(x.device)
        self._x = x.detach().clone()
        self.prior = prior
        self._pieces = localize(plan, numbers)
        self._executor = LocalExecutor(self._pieces, x.device)
        used = {piece.step.module: bijector(piece.step) for piece in self._pieces.pieces}
        self._bijectors = {key: _without_gradients(module) for key, module in used.items()}
        self._contexts = {piece.step: _of_events(given(piece.step), piece.positions) for piece in self._pieces.pieces}
        self._latents, self._constants, self._rest = _full_pass(self._pieces, bijector, prior, self._x, given)
        # a field is evaluated as a whole, which is more than its cone: the columns of its latents that are the cone's
        self._columns = [
            torch.searchsorted(exit.sites, inside).to(x.device) if len(inside) < len(exit.sites) else None
            for exit, inside in zip(self._pieces.exits, self.cone.sites, strict=True)
        ]
        self._event = (plan.input.channels, len(sites))
        self._log_prob = Recorded(self._evaluate_log_prob)
        self._encode = Recorded(self._evaluate_latents)
        self._decode = Recorded(self._evaluate_pixels)

    def __repr__(self) -> str:
        pixels, latents = int(self.mask.sum()), self.cone.count
        return f"Restriction({pixels:,} pixels, and {latents:,} latents and {sum(self.cone.blocks):,} blocks)"

    @property
    def pixels(self) -> Tensor:
        """The masked pixels as they are in the image, (1, C, n)."""
        return self._x[:, :, self.mask]

    @cached_property
    def latent_shapes(self) -> tuple[tuple[int, int], ...]:
        """(C_h, n_h) of the cone's latents at each level."""
        levels = zip(self.cone.plan.latents, self.cone.sites, strict=True)
        return tuple((latent.lattice.channels, len(sites)) for latent, sites in levels)

    @property
    def known(self) -> Tensor:
        """The pixels that are not masked, (1, C, n')."""
        return self._x[:, :, ~self.mask]

    @cached_property
    def in_cone(self) -> Tensor:
        """Of the latents of `encode`, flat and level by level, those in the cone; at its sites there may be others."""
        plan = self.cone.plan
        places = [
            variables_at(sites, v.lattice).flatten() for sites, v in zip(self.cone.sites, plan.latents, strict=True)
        ]
        reached = [self.cone.reached[latent.value] for latent in plan.latents]
        return torch.cat([torch.isin(p, r) for p, r in zip(places, reached, strict=True)])

    def log_prob(self, pixels: Tensor) -> Tensor:
        """log p of the whole image with these pixels in it, (K, C, n) -> (K,), in nats.

        Raises:
            ValueError: if shape, dtype or device is wrong.
        """
        self._check(pixels)
        return self._log_prob(pixels)

    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The cone's latents; all others stay what they are.

        Raises:
            ValueError: if shape, dtype or device is wrong.
        """
        self._check(pixels)
        return self._encode(pixels)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """The masked pixels (K, C, n) of the image that has these latents in the cone and its own elsewhere.

        If these are not what `encode` makes of some pixels, the whole flow would change pixels around the mask too;
        those are not computed.

        Raises:
            ValueError: if the number of levels, a shape, dtype or device is wrong.
        """
        check_levels("the cone's latents", latents, self.latent_shapes, self._x, "K")
        return self._decode(*latents)

    def fill(self, pixels: Tensor) -> Tensor:
        """Whole images (K, C, *shape): the image with these pixels in it, all others untouched bit for bit."""
        self._check(pixels)
        images = self._x.repeat(len(pixels), *(1 for _ in self._x.shape[1:]))
        images[:, :, self.mask] = pixels
        return images

    def _evaluate(self, pixels: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Latents (K, C_h, n) at all sites that were evaluated, and the log-det (K,) of what was evaluated."""
        rows, log_det = self._executor.forward(pixels.flatten(1), self._constants, self._transform)
        return tuple(row.unflatten(1, base.shape[1:]) for row, base in zip(rows, self._latents, strict=True)), log_det

    def _evaluate_log_prob(self, pixels: Tensor) -> Tensor:
        levels, log_det = self._evaluate(pixels)
        return self.prior.log_prob(levels) + log_det + self._rest

    def _evaluate_latents(self, pixels: Tensor) -> tuple[Tensor, ...]:
        levels, _ = self._evaluate(pixels)
        return tuple(
            level if columns is None else level.index_select(2, columns)
            for level, columns in zip(levels, self._columns, strict=True)
        )

    def _evaluate_pixels(self, *latents: Tensor) -> Tensor:
        rows = []
        for level, base, columns in zip(latents, self._latents, self._columns, strict=True):
            if columns is not None:
                level = base.expand(level.shape[0], -1, -1).index_copy(2, columns, level)
            rows.append(level.flatten(1))
        row = self._executor.inverse(rows, self._inverse_transform)
        return row.unflatten(1, self._event)

    def _transform(self, step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the events of all settings, each followed by the next."""
        return self._bijectors[step.module](events, *self._context(step, events))

    def _inverse_transform(self, step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `_transform`."""
        return self._bijectors[step.module].inverse(events, *self._context(step, events))

    def _context(self, step: Step, events: Tensor) -> tuple[Tensor | None, ...]:
        """The context of each event as an argument of the bijector."""
        context = self._contexts[step]
        if context is not None:
            context = context.repeat(events.shape[0] // context.shape[0], *(1 for _ in context.shape[1:]))
        return context_arguments(self._bijectors[step.module], context)

    def _check(self, pixels: Tensor) -> None:
        check_tensor("pixels", pixels, self._event, self._x, "K")


@torch.no_grad()
def _full_pass(
    pieces: Pieces,
    bijector: Callable[[Step], Bijector],
    prior: Prior,
    x: Tensor,
    given: Callable[[Step], Tensor | None],
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """What does not change with the variables that the pieces follow.

    Returns the latents (1, C_h, n) at the sites of each exit; for each piece, then each exit, its variables that are
    not followed; and what all events and latents elsewhere add to log p, summed without the pieces' part rather than
    by subtracting it, which would lose digits.
    """
    piece_of = {piece.step: piece for piece in pieces.pieces}
    constants: list[Tensor] = []

    def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        module = bijector(step)
        changed, log_det = module(events, *context_arguments(module, given(step)))
        if step in piece_of:
            piece = piece_of[step]
            touched = piece.positions.to(x.device)
            values = events.index_select(0, touched).flatten()
            constants.append(values[(piece.source[: len(values)] < 0).to(x.device)])
            log_det = log_det.index_fill(0, touched, 0)
        return changed, log_det

    z, rest = run_forward(pieces.plan, x, transform)
    latents, others = [], []
    for level, exit in zip(z, pieces.exits, strict=True):
        level, sites = level.flatten(2), exit.sites.to(x.device)
        latents.append(level.index_select(2, sites))
        constants.append(latents[-1].flatten()[(exit.source < 0).to(x.device)])
        outside = torch.ones(level.shape[2], dtype=torch.bool, device=x.device).index_fill(0, sites, False)
        others.append(level[:, :, outside])
    return latents, constants, rest + prior.log_prob(others)


def _of_events(context: Tensor | None, positions: Tensor) -> Tensor | None:
    """The context of some of the events of an image."""
    return None if context is None else context.index_select(0, positions.to(context.device))


def _without_gradients(bijector: Bijector) -> Bijector:
    """The same bijector on the same numbers, but without a gradient for its parameters."""
    held = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in bijector.parameters()}
    try:
        return copy.deepcopy(bijector, memo=held | {id(b): b for b in bijector.buffers()})
    except RuntimeError as error:
        raise ValueError(
            f"Expected a bijector that can be copied; got {type(bijector).__name__}: {error} "
            "(torch.nn.utils.parametrizations can be copied, hooks that set tensors cannot)"
        ) from error
