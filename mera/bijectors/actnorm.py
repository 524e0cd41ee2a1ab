"""Activation normalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera.bijectors.base import Bijector

__all__ = ["ActNorm"]


class ActNorm(Bijector):
    r"""y = (x + b) exp(s), with b and s learnt for each variable of a patch (Glow, Kingma & Dhariwal 2018).

    log \|det J\| = sum of s. `initialize` makes the first batch come out with mean 0 and variance 1; until then the
    map is the identity. What it set is part of the state dict, so that loading restores it.

    Args:
        event_shape: the shape of one event, (C, *sites).
        per_channel: one b and s for all sites of a channel, as for a whole lattice.
    """

    initialized: Tensor

    def __init__(self, event_shape: tuple[int, ...], per_channel: bool = False) -> None:
        super().__init__(event_shape)
        channels, *sites = event_shape
        check_flag(per_channel, "per_channel")
        shape = (channels, *(1 for _ in sites)) if per_channel else tuple(event_shape)
        self.shift = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.repeats = math.prod(event_shape) // self.log_scale.numel()
        self.register_buffer("initialized", torch.tensor(False))

    @property
    def receptive_kernel(self) -> tuple[int, ...]:
        """A site depends on itself alone."""
        return (1,) * (self.log_scale.ndim - 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift, then scale; see `Bijector`."""
        return (x + self.shift) * torch.exp(self.log_scale), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Scale back, then shift back; see `Bijector`."""
        return y * torch.exp(-self.log_scale) - self.shift, -self._log_det(y)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set shift and scale from a batch (B, *event_shape), unless that was done before."""
        if not self.initialized:
            axes = [0, *(1 + d for d, n in enumerate(self.shift.shape) if n == 1)]
            self.shift.copy_(-x.mean(axes, keepdim=True)[0])
            deviation = (x + self.shift).square().mean(axes, keepdim=True)[0].sqrt()
            self.log_scale.copy_(-torch.log(deviation.clamp(min=1e-3)))
            self.initialized.fill_(True)
        return self(x)[0]

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * self.repeats).expand(x.shape[0])
