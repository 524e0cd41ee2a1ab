"""Scales that start from the first batch of data: of variables, of the means of cells, of Fourier modes."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.boxes import Box
from mera.bijectors.linear import DCT
from mera.bijectors.local import LocalBijector, equal_log_dets

CONSTANT = 1e-7
"""A variable is constant if its standard deviation is at most this number times max(1, |mean|)."""
SMALLEST = 1e-12
"""Lower bound of the power of a wave number in `Spectral.initialize`."""


class StartsFromData(Bijector):
    """A bijector whose parameters start from the first batch of data, unless one of them is frozen.

    The buffer `initialized` records that they have.
    """

    initialized: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.register_buffer("initialized", torch.tensor(False))

    @abstractmethod
    def start(self, x: Tensor) -> bool:
        """Set the parameters from a batch (B, *event_shape), and return whether that was possible."""

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set the parameters from a batch, unless they were set before or are frozen; return the transformed batch."""
        if not self.initialized and all(p.requires_grad for p in self.parameters()) and self.start(x):
            self.initialized.fill_(True)
        return self(x)[0]


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

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Shift, then scale; or undo it."""
        y = x * torch.exp(-self.log_scale) - self.shift if inverse else (x + self.shift) * torch.exp(self.log_scale)
        log_det = self.log_scale.sum(dtype=log_det_dtype(x))
        return y, equal_log_dets(log_det, x, inverse, sites, of_site=self.per_channel)

    @property
    def fits_any_lattice(self) -> bool:
        """Return whether all sites share the parameters."""
        return self.per_channel

    def start(self, x: Tensor) -> bool:
        """Set shift and scale from a batch (B, *event_shape) with several values of each variable, not all the same.

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


class BlockSpins(StartsFromData):
    r"""The cosine transform of a cell, whose mean is multiplied by a learnt factor :math:`e^s`.

    The first variable of the cell, of N sites, is :math:`e^s \sqrt N` times the mean (Kadanoff 1966, see `DCT`). The
    map starts with s = 0, as an orthonormal one. `initialize` sets s such that the coarse lattice of means varies as
    much as the finer lattice of the first batch; the buffer `initialized` records it. For fields at a critical point
    :math:`e^s = b^{-(2 - \eta) / 2}`, where b is the edge of a cell and :math:`\eta` the anomalous dimension, 1/4 for
    the Ising model in two dimensions. The log-det is s for each channel.

    Args:
        event_shape: shape (C, *sites) of a cell.
    """

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.transform = DCT(event_shape)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform the cell, then scale the mean."""
        return self.transform.product(x, log_scale=self.log_scale), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the scaling, then the transform."""
        return self.transform.product(y, inverse=True, log_scale=self.log_scale), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.to(log_det_dtype(x)) * x.shape[1]).expand(x.shape[0])

    def start(self, x: Tensor) -> bool:
        """Set the factor from a batch (B, *event_shape)."""
        means = self.transform(x)[0].flatten(2)[..., 0]
        fine, coarse = (values.movedim(1, 0).flatten(1).var(1).mean().item() for values in (x, means))
        if not (fine > 0 and coarse > 0):
            return False
        self.log_scale.fill_(0.5 * math.log(fine / coarse))
        return True


class Spectral(StartsFromData):
    r"""A learnt scale of each Fourier mode of a periodic lattice: :math:`\hat y(k) = e^{s(k)} \hat x(k)`.

    Wave numbers that differ only in the signs of their components share a scale. The log-det is the sum of s(k) over
    all wave numbers. With :math:`s = \frac{1}{2} \ln \lambda` for the eigenvalues :math:`\lambda(k)` of a quadratic
    action, the map makes a free field uncorrelated, a good start for theories close to a free field. The map starts as
    the identity; `initialize` sets the scales so that the first batch has power 1 at all wave numbers. Each output
    depends on the whole lattice.

    Args:
        event_shape: shape (C, *sites) of one event.
    """

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        channels, *shape = event_shape
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
        modes = torch.fft.fftn(x.to(log_det_dtype(x)), dim=tuple(range(2, x.ndim)), norm="ortho")
        spectrum = modes.abs().square().mean(0)
        for axis, fold in enumerate(self._folds, start=1):  # average over wave numbers that share a scale
            fold = fold.to(x.device)
            sums = torch.zeros_like(spectrum).index_add(axis, fold, spectrum)
            counts = torch.bincount(fold, minlength=len(fold)).clamp(min=1)
            means = sums / counts.view(-1, *(1 for _ in range(spectrum.ndim - axis - 1)))
            spectrum = means.narrow(axis, 0, len(fold) // 2 + 1)
        self.log_scale.copy_(-spectrum.clamp(min=SMALLEST).log() / 2)
        return True

    def _scaled(self, x: Tensor, sign: int) -> tuple[Tensor, Tensor]:
        """Multiply the modes by exp(sign s)."""
        self.check_events(x)
        log_scale = self.log_scale.to(log_det_dtype(x))
        for axis, fold in enumerate(self._folds, start=1):
            log_scale = log_scale.index_select(axis, fold.to(x.device))
        if not x.numel():
            return x, log_scale.new_zeros(x.shape[0])
        modes = torch.fft.fftn(x.to(log_scale.dtype), dim=tuple(range(2, x.ndim))) * (sign * log_scale).exp()
        y = torch.fft.ifftn(modes, dim=tuple(range(2, x.ndim))).real.to(x.dtype)
        return y, (sign * log_scale.sum()).expand(x.shape[0])
