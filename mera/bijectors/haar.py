"""The Haar transform."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera._utils.door import checked
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, zero_log_det


class Haar(Bijector):
    r"""The Haar transform of a patch of 2 sites in each dimension (Haar 1910); the log-det is 0.

    In each dimension, two neighbours are mapped to their normalised sum and difference:

    .. math:: (a, b) \mapsto \left(\frac{a + b}{\sqrt{2}}, \frac{a - b}{\sqrt{2}}\right).

    In d dimensions the first site of the patch then holds :math:`2^{d/2}` times the mean, and the other sites hold the
    details. A decimation that keeps the first site of each patch therefore keeps the image at half its resolution.

    Args:
        event_shape: shape (C, 2, ..., 2) of one event.

    Raises:
        ValueError: if an event is not a patch of 2 sites in each dimension.
    """

    @checked
    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        if len(event_shape) < 2 or set(event_shape[1:]) != {2}:
            raise InputError("patches of 2 sites in each dimension, (C, 2, ...)", str(tuple(event_shape)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform to the mean and the details."""
        return self._transformed(x), zero_log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the same map, which is its own inverse."""
        return self._transformed(y), zero_log_det(y)

    def _transformed(self, x: Tensor) -> Tensor:
        for axis in range(2, x.ndim):
            first, second = x.unbind(axis)
            x = torch.stack([first + second, first - second], axis) * math.sqrt(0.5)
        return x
