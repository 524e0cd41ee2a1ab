"""Kadanoff's block spins: the means of cells, on the scale of the finer lattice, and the details of cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera.bijectors.base import Bijector
from mera.bijectors.cosine import DCT


class BlockSpins(Bijector):
    r"""The cosine transform of each cell of a patch, whose means are multiplied by one learnt factor :math:`e^s`.

    The first variable of a cell of N sites is :math:`e^s \sqrt N` times the mean (Kadanoff 1966, see `DCT`). The map
    starts with s = 0, as an orthonormal one. `initialize` sets s such that the coarse lattice of the means varies as
    much as the finer lattice of the first batch; the buffer `initialized` records it. For fields at a critical point
    :math:`e^s = b^{-(2 - \eta) / 2}`, where b is the edge of a cell and :math:`\eta` the anomalous dimension, 1/4 for
    the Ising model in two dimensions. The log-det is s for each mean.

    Args:
        event_shape: shape (C, *sites) of one event.
        cell: edge of the cells, which divides the edges of the event; None for one cell.

    Raises:
        ValueError: if an event has no sites, or the cells do not divide it.
    """

    means: Tensor
    initialized: Tensor

    def __init__(self, event_shape: tuple[int, ...], cell: int | None = None) -> None:
        super().__init__(event_shape)
        self.transform = DCT(event_shape, cell)
        self.log_scale = nn.Parameter(torch.zeros(()))
        means = torch.zeros(event_shape[1:])
        means[tuple(slice(None, None, n if cell is None else cell) for n in event_shape[1:])] = 1
        self.register_buffer("means", means, persistent=False)
        self.number = event_shape[0] * int(means.sum())
        self.register_buffer("initialized", torch.tensor(False))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each cell, then scale the means."""
        y, log_det = self.transform(x)
        return y * torch.exp(self.log_scale * self.means), log_det + self.log_scale.to(log_det.dtype) * self.number

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the scaling, then the transform."""
        x, log_det = self.transform.inverse(y * torch.exp(-self.log_scale * self.means))
        return x, log_det - self.log_scale.to(log_det.dtype) * self.number

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set the factor from a batch (B, *event_shape); one that was set before or is frozen stays."""
        if not self.initialized and self.log_scale.requires_grad:
            means = self.transform(x)[0][..., self.means.bool()]
            fine, coarse = (values.flatten(2).movedim(1, 0).flatten(1).var(1).mean().item() for values in (x, means))
            if fine > 0 and coarse > 0:
                self.log_scale.fill_(0.5 * math.log(fine / coarse))
                self.initialized.fill_(True)
        return self(x)[0]
