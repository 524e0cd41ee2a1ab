"""A bijector that scales Fourier modes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.bijectors.base import StartsFromData, log_det_dtype

SMALLEST = 1e-12
"""Lower bound of the power of a wave number in `Spectral.initialize`."""


class Spectral(StartsFromData):
    r"""A learnt scale of each Fourier mode of a periodic lattice: :math:`\hat y(k) = e^{s(k)} \hat x(k)`.

    Wave numbers that differ only in the signs of their components share a scale. The log-det is the sum of s(k) over
    all wave numbers. With :math:`s = \frac{1}{2} \ln \lambda` for the eigenvalues :math:`\lambda(k)` of a quadratic
    action, the map makes a free field uncorrelated, a good start for theories close to a free field. The map starts as
    the identity; `initialize` sets the scales so that the first batch has power 1 at all wave numbers. Each output
    depends on the whole lattice.

    Args:
        event_shape: shape (C, *sites) of one event.

    Raises:
        ValueError: if the event has no sites.
    """

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        channels, *shape = event_shape
        if not shape:
            raise InputError("an event with sites", str(tuple(event_shape)))
        self.log_scale = nn.Parameter(torch.zeros(channels, *(n // 2 + 1 for n in shape)))
        self._folds = [torch.minimum(torch.arange(n), n - torch.arange(n)) for n in shape]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale the modes."""
        return self._scaled(x, 1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the scaling."""
        return self._scaled(y, -1)

    def start(self, x: Tensor) -> bool:
        """Set the scales from the power spectrum of a batch (B, *event_shape)."""
        spectrum = torch.fft.fftn(x.to(log_det_dtype(x)), dim=self._axes, norm="ortho").abs().square().mean(0)
        for axis, fold in enumerate(self._folds, start=1):  # average over wave numbers that share a scale
            fold = fold.to(x.device)
            sums = torch.zeros_like(spectrum).index_add(axis, fold, spectrum)
            counts = torch.bincount(fold, minlength=len(fold)).clamp(min=1)
            means = sums / counts.view(-1, *(1 for _ in range(spectrum.ndim - axis - 1)))
            spectrum = means.narrow(axis, 0, len(fold) // 2 + 1)
        self.log_scale.copy_(-spectrum.clamp(min=SMALLEST).log() / 2)
        return True

    @torch.no_grad()
    def interpolate(self, other: Spectral) -> None:
        """Copy the scales from a bijector of another lattice, interpolated linearly between its wave numbers.

        Args:
            other: the bijector to copy from, for as many channels and dimensions.
        """
        mode = ("linear", "bilinear", "trilinear")[self.log_scale.ndim - 2]
        size = self.log_scale.shape[1:]
        scales = F.interpolate(other.log_scale[None], size, mode=mode, align_corners=True)  # wave numbers 0 and pi stay
        self.log_scale.copy_(scales[0])
        self.initialized.copy_(other.initialized)

    @property
    def _axes(self) -> tuple[int, ...]:
        """The axes of the sites in a batch."""
        return tuple(range(2, 2 + len(self._folds)))

    def _scaled(self, x: Tensor, sign: int) -> tuple[Tensor, Tensor]:
        """Multiply the modes by exp(sign s)."""
        log_scale = self.log_scale.to(log_det_dtype(x))
        for axis, fold in enumerate(self._folds, start=1):
            log_scale = log_scale.index_select(axis, fold.to(x.device))
        if not x.numel():
            return x, log_scale.new_zeros(x.shape[0])
        modes = torch.fft.fftn(x.to(log_scale.dtype), dim=self._axes) * (sign * log_scale).exp()
        y = torch.fft.ifftn(modes, dim=self._axes).real.to(x.dtype)
        return y, (sign * log_scale.sum()).expand(x.shape[0])
