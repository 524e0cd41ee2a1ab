"""Kadanoff's block spins: the means of cells, on the scale of the finer lattice, and the details of cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera.bijectors.base import StartsFromData, log_det_dtype
from mera.bijectors.cosine import DCT


class BlockSpins(StartsFromData):
    r"""The cosine transform of a cell, whose mean is multiplied by a learnt factor :math:`e^s`.

    The first variable of the cell, of N sites, is :math:`e^s \sqrt N` times the mean (Kadanoff 1966, see `DCT`). The
    map starts with s = 0, as an orthonormal one. `initialize` sets s such that the coarse lattice of means varies as
    much as the finer lattice of the first batch; the buffer `initialized` records it. For fields at a critical point
    :math:`e^s = b^{-(2 - \eta) / 2}`, where b is the edge of a cell and :math:`\eta` the anomalous dimension, 1/4 for
    the Ising model in two dimensions. The log-det is s for each channel.

    Args:
        event_shape: shape (C, *sites) of a cell.

    Raises:
        ValueError: if a cell has no sites.
    """

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.transform = DCT(event_shape)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform the cell, then scale the mean."""
        return self._scaled(self.transform(x)[0], self.log_scale), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the scaling, then the transform."""
        return self.transform.inverse(self._scaled(y, -self.log_scale))[0], -self._log_det(y)

    def _scaled(self, y: Tensor, log_scale: Tensor) -> Tensor:
        """Multiply the mean, the first site, by the exponential of a number."""
        factors = torch.cat([log_scale[None], log_scale.new_zeros(self.transform.matrix.shape[0] - 1)]).exp()
        return y * factors.view(self.transform.sites)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.to(log_det_dtype(x)) * x.shape[1]).expand(x.shape[0])

    def start(self, x: Tensor) -> bool:
        """Set the factor from a batch (B, *event_shape); one that is frozen stays."""
        means = self.transform(x)[0].flatten(2)[..., 0]
        fine, coarse = (values.movedim(1, 0).flatten(1).var(1).mean().item() for values in (x, means))
        if not self.log_scale.requires_grad or not (fine > 0 and coarse > 0):
            return False
        self.log_scale.fill_(0.5 * math.log(fine / coarse))
        return True
