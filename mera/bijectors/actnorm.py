"""Activation normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera.bijectors.base import StartsFromData, log_det_dtype
from mera.bijectors.local import LocalBijector, equal_log_dets
from mera.bijectors.sites import Sites

CONSTANT = 1e-7
"""A variable is constant if its standard deviation is at most this number times max(1, |mean|)."""


class ActNorm(LocalBijector, StartsFromData):
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
        self.per_channel = check_flag(per_channel, "per_channel")
        shape = (channels, *(1 for _ in sites)) if per_channel else tuple(event_shape)
        self.shift = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Sites | None) -> tuple[Tensor, Tensor]:
        """Shift, then scale; or undo it."""
        if inverse:
            y = x * torch.exp(-self.log_scale) - self.shift
        else:
            y = (x + self.shift) * torch.exp(self.log_scale)
        log_det = self.log_scale.sum(dtype=log_det_dtype(x))
        return y, equal_log_dets(log_det, x, inverse, sites, of_site=self.per_channel)

    @property
    def fits_any_lattice(self) -> bool:
        """Whether all sites share the parameters."""
        return self.per_channel

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
