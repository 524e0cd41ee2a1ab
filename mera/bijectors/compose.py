"""Bijectors made of bijectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from mera.bijectors.base import Bijector, backwards, forwards, zero_log_det

__all__ = ["Chain", "Invert"]


class Chain(Bijector):
    """The first bijector, then the second, and so on; their log-dets add up.

    Raises:
        ValueError: if there is none, or two members disagree on the shape of events or of contexts.
    """

    def __init__(self, bijectors: Iterable[Bijector]) -> None:
        members = list(bijectors)
        if not members:
            raise ValueError("Expected at least one bijector; got none")
        super().__init__(_agreed(members, "event_shape"), _agreed(members, "context_shape"))
        self.members = nn.ModuleList(members)

    @property
    def passive(self) -> int:
        """The channels that no member changes."""
        return min(member.passive for member in self.bijectors)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The members' windows, one behind the other; all of the event if one of them needs that."""
        kernels = [member.receptive_kernel for member in self.bijectors]
        known = [kernel for kernel in kernels if kernel is not None]
        if len(known) < len(kernels):
            return None
        return tuple(1 + sum(k - 1 for k in axis) for axis in zip(*known, strict=True))

    @property
    def circular(self) -> bool:
        """Whether a member's window does."""
        return any(member.circular for member in self.bijectors)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All members in order."""
        log_det = zero_log_det(x)
        for member in self.bijectors:
            x, change = forwards(member, x, context)
            log_det = log_det + change
        return x, log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The members' inverses, from the last to the first."""
        log_det = zero_log_det(y)
        for member in reversed(self.bijectors):
            y, change = backwards(member, y, context)
            log_det = log_det + change
        return y, log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Each member starts from what the members before it make of the data."""
        for member in self.bijectors:
            x = member.initialize(x, context)
        return x

    @property
    def bijectors(self) -> list[Bijector]:
        """The members, in order."""
        return [cast(Bijector, member) for member in self.members]


def _agreed(members: list[Bijector], what: str) -> tuple[int, ...] | None:
    """The shape that all members have who have one."""
    shape = None
    for index, member in enumerate(members):
        its = getattr(member, what)
        if its is not None and shape is not None and its != shape:
            words = what.replace("_", " ")
            raise ValueError(
                f"Expected {words} {shape} for member {index}, as before it in the chain; "
                f"got {its} ({type(member).__name__})"
            )
        shape = its if its is not None else shape
    return shape


class Invert(Bijector):
    """A bijector with its two directions exchanged.

    `initialize` does not reach the bijector within: the batch is what should come out of that one, not what goes in.
    """

    def __init__(self, bijector: Bijector) -> None:
        super().__init__(bijector.event_shape, bijector.context_shape)
        self.bijector = bijector

    @property
    def passive(self) -> int:
        """The channels that the bijector within does not change."""
        return self.bijector.passive

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """That of the bijector within, whose both directions read as far."""
        return self.bijector.receptive_kernel

    @property
    def circular(self) -> bool:
        """Whether the window of the bijector within does."""
        return self.bijector.circular

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The inverse of the bijector within."""
        return backwards(self.bijector, x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The bijector within."""
        return forwards(self.bijector, y, context)
