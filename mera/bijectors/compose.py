"""Composition and inversion of bijectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mera._utils.checks import check_type
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, context_arguments, total
from mera.bijectors.boxes import Box
from mera.bijectors.local import LocalBijector, evaluate


class Chain(LocalBijector):
    """A composition of bijectors; their log-dets add up.

    Args:
        bijectors: the members, in the order from data to latents, of one shape of events and of contexts.

    Raises:
        ValueError: if `bijectors` is empty, or two members disagree on the shape of events or of contexts.
    """

    of_angles = None

    def __init__(self, bijectors: Iterable[Bijector]) -> None:
        items = check_type(bijectors, Iterable, "several bijectors")
        members = [check_type(member, Bijector, "a Bijector as member of a chain") for member in items]
        if not members:
            raise InputError("at least one bijector", "none")
        super().__init__(_common_shape(members, "event_shape"), _common_shape(members, "context_shape"))
        self.members = nn.ModuleList(members)
        self.passive = min(member.passive for member in members)
        self.circular = any(member.circular for member in members)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The combined window of all members; None if a member depends on all sites."""
        kernels = [member.receptive_kernel for member in self.bijectors]
        windows = [kernel for kernel in kernels if kernel is not None]
        if len(windows) < len(kernels):
            return None
        return tuple(1 + sum(size - 1 for size in sizes) for sizes in zip(*windows, strict=True))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the members from the first to the last."""
        if x.shape[1:] != self.event_shape:
            self.check_events(x)
        log_dets = []
        for member in self.bijectors:
            given = () if member.context_shape is None else (context,)
            x, log_det = member(x, *given)
            log_dets.append(log_det)
        return x, total(log_dets)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inverses of the members from the last to the first."""
        if y.shape[1:] != self.event_shape:
            self.check_events(y)
        log_dets = []
        for member in reversed(self.bijectors):
            given = () if member.context_shape is None else (context,)
            y, log_det = member.inverse(y, *given)
            log_dets.append(log_det)
        return y, total(log_dets)

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Apply the members, or their inverses, to some sites."""
        if sites is None:
            return self.inverse(x, context) if inverse else self(x, context)
        log_det: Any = None
        for member in self.bijectors[::-1] if inverse else self.bijectors:
            x, term = evaluate(member, x, context, inverse, sites)
            context = context if context is None or context.ndim == 2 else sites.shrink(context, member.radius)
            log_det = term if log_det is None else sites.shrink(log_det, member.radius) + term
            sites = sites.shrunk(member.radius)
        return x, log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise each member with the output of the members before it."""
        for member in self.bijectors:
            x = member.initialize(x, *context_arguments(member, context))
        return x

    @property
    def bijectors(self) -> list[Bijector]:
        """The members, in order."""
        return list(cast(Any, self.members))


def _common_shape(members: Sequence[Bijector], name: str) -> tuple[int, ...] | None:
    """The value of the attribute `name`, which must be equal for all members where it is not None."""
    shapes = dict.fromkeys(getattr(member, name) for member in members if getattr(member, name) is not None)
    if len(shapes) > 1:
        raise InputError(f"members of one {name.replace('_', ' ')}", " and ".join(map(str, shapes)))
    return next(iter(shapes), None)


class Invert(LocalBijector):
    """A bijector with its two directions exchanged.

    `initialize` only transforms the batch, because the inner bijector would need a batch of its inputs, and this batch
    holds its outputs.

    Args:
        bijector: the inner bijector.
    """

    of_angles = None

    def __init__(self, bijector: Bijector) -> None:
        check_type(bijector, Bijector, "a Bijector to invert")
        super().__init__(bijector.event_shape, bijector.context_shape)
        self.bijector, self.passive, self.circular = bijector, bijector.passive, bijector.circular

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of the inner bijector, which is equal in both directions."""
        return self.bijector.receptive_kernel

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Apply the inner bijector in the other direction."""
        return evaluate(self.bijector, x, context, not inverse, sites)
