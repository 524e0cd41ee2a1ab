"""The contract of every bijector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Bijector", "backwards", "forwards", "log_det_dtype", "zero_log_det"]


def log_det_dtype(x: Tensor) -> torch.dtype:
    """Log-dets are sums over many variables: they are kept in single precision at least."""
    return torch.promote_types(x.dtype, torch.float32)


def zero_log_det(x: Tensor) -> Tensor:
    """The log-det (B,) of the identity on events (B, ...)."""
    return x.new_zeros(x.shape[0], dtype=log_det_dtype(x))


class Bijector(nn.Module, ABC):
    r"""An invertible map between events, whose Jacobian's determinant is known.

    Direction: `forward` is from data to latents, `inverse` from latents to data. Both return the value and the
    logarithm of \|det J\| of the map just made, in nats, so that for y, a = f(x) and x, b = f.inverse(y): a = -b.

    Shapes: a value is (B, *event_shape), a log-det (B,). The first axis may hold anything that is independent:
    images, or all patches of all images.

    A bijector whose `context_shape` is not None depends on more than the event: `forward`, `inverse` and `initialize`
    take a context (B, *context_shape) as their second argument. `forwards` and `backwards` call any bijector.

    Args:
        event_shape: the shape of one event, or None for a map that takes any.
        context_shape: (K,) or, for numbers at each site, (K, *sites); None for a map that takes no context.
    """

    def __init__(
        self, event_shape: tuple[int, ...] | None = None, context_shape: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.event_shape = None if event_shape is None else tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)

    @property
    def passive(self) -> int:
        """How many channels, the first ones, are read and stay as they are."""
        return 0

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window around a site, in each dimension, outside of which it depends on nothing; None if on all sites."""
        return None

    @property
    def circular(self) -> bool:
        """Whether that window goes on at the opposite border of the event."""
        return False

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to latents: (B, *event_shape) -> the same, and log-det (B,)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Latents to data: (B, *event_shape) -> the same, and log-det (B,) of this direction."""

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Start from data: set what should depend on a first batch, and return that batch transformed.

        Maps with nothing to set only transform. It is never called implicitly.
        """
        return forwards(self, x, context)[0]


def forwards(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """`bijector(x)`, with the context if it takes one."""
    return bijector(x) if bijector.context_shape is None else bijector(x, context)


def backwards(bijector: Any, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """`bijector.inverse(y)`, with the context if it takes one."""
    return bijector.inverse(y) if bijector.context_shape is None else bijector.inverse(y, context)
