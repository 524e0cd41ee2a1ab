"""Activation normalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera.bijectors.base import StartsFromData, constant_by_site, log_det_dtype

CONSTANT = 1e-7
"""A variable is constant if its standard deviation is at most this number times max(1, |mean|)."""


class ActNorm(StartsFromData):
    r"""A learnt shift and scale of each variable: :math:`y = (x + b) \, e^s`.

    Activation normalisation is due to Glow (Kingma and Dhariwal 2018, https://arxiv.org/abs/1807.03039). The log-det is
    :math:`\ln |\det J| = \sum s`. The map starts as the identity. `initialize` sets :math:`b` and :math:`s` such that
    the output for the first batch has mean 0 and variance 1; the buffer `initialized` records it.

    Args:
        event_shape: shape (C, *sites) of one event.
        per_channel: whether all sites of a channel share one :math:`b` and :math:`s`, as is usual for whole lattices.
    """

    per_site = True

    def __init__(self, event_shape: tuple[int, ...], per_channel: bool = False) -> None:
        super().__init__(event_shape)
        channels, *sites = event_shape
        check_flag(per_channel, "per_channel")
        shape = (channels, *(1 for _ in sites)) if per_channel else tuple(event_shape)
        self.shift = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Shift, then scale."""
        return (x + self.shift) * torch.exp(self.log_scale), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the scaling, then the shift."""
        return y * torch.exp(-self.log_scale) - self.shift, -self._log_det(y)

    @property
    def is_local(self) -> bool:
        """Whether all sites share the parameters."""
        return self.log_scale[0].numel() == 1

    def by_site(self, x: Tensor, context: Tensor | None = None, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Shift and scale, or undo it; the log-det is the same at all sites."""
        return constant_by_site(self, x, inverse, self.log_scale.sum(dtype=log_det_dtype(x)))

    def start(self, x: Tensor) -> bool:
        """Set shift and scale from a batch (B, *event_shape).

        Raises:
            ValueError: if the batch has only one value of each variable, or a variable is constant in it.
        """
        if x.numel() < 2 * self.shift.numel():
            raise InputError("at least 2 values of each variable to start from", "1")
        axes = [0, *(1 + d for d, n in enumerate(self.shift.shape) if n == 1)]
        self.shift.copy_(-x.mean(axes, keepdim=True)[0])
        deviation = (x + self.shift).square().mean(axes, keepdim=True)[0].sqrt()
        constant = deviation <= CONSTANT * self.shift.abs().clamp(min=1)
        if count := int(constant.sum()):
            raise InputError("values of each variable that differ, to start from", f"{count} constant")
        self.log_scale.copy_(-torch.log(deviation.clamp(min=1e-3)))
        return True

    def _log_det(self, x: Tensor) -> Tensor:
        repeats = math.prod(self.event_shape or ()) // self.log_scale.numel()
        return (self.log_scale.sum(dtype=log_det_dtype(x)) * repeats).expand(x.shape[0])
