"""The Haar transform."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.bijectors.base import Bijector, zero_log_det

__all__ = ["Haar"]


class Haar(Bijector):
    """Neighbours a, b become (a + b) / sqrt(2), (a - b) / sqrt(2) in each dimension (Haar 1910): log-det 0.

    On patches of 2 sites in each dimension, the first site of a patch comes to hold sqrt(2)^dim times the mean, and the
    others the details: what a decimation then keeps is the image at half its edge.

    Args:
        event_shape: (C, 2, ..., 2).

    Raises:
        ValueError: if an event is no patch of 2 sites in each dimension.
    """

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        if len(event_shape) < 2 or set(event_shape[1:]) != {2}:
            raise ValueError(f"Expected patches of 2 sites in each dimension, (C, 2, ...); got {tuple(event_shape)}")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means first, then details; see `Bijector`."""
        return self._turned(x), zero_log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The same map, which is its own inverse; see `Bijector`."""
        return self._turned(y), zero_log_det(y)

    def _turned(self, x: Tensor) -> Tensor:
        for axis in range(2, x.ndim):
            first, second = x.unbind(axis)
            x = torch.stack([first + second, first - second], axis) * math.sqrt(0.5)
        return x
