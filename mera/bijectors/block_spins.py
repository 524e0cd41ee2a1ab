"""The orthonormal cosine transform of a cell, Haar's for edge 2; and Kadanoff's block spins, its scaled means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera._utils.torch_modes import exactly
from mera.bijectors.base import Bijector, log_det_dtype, zero_log_det
from mera.bijectors.normalization import StartsFromData


class DCT(Bijector):
    r"""The orthonormal discrete cosine transform (DCT-II) of a cell, channel by channel; the log-det is 0.

    In each dimension, n neighbours are mapped to

    .. math:: y_k = \sqrt{\frac{2 - \delta_{k0}}{n}} \sum_{j=0}^{n-1} x_j \cos\frac{\pi k (2j + 1)}{2n}

    (Ahmed, Natarajan and Rao 1974, https://doi.org/10.1109/T-C.1974.223784). The first variable of a cell is then its
    block spin (Kadanoff 1966), the mean times the square root of the number of sites, and the others are the details. A
    decimation that keeps the first site of each cell therefore keeps the means. With n = 2 this is the Haar transform.

    Args:
        event_shape: shape (C, *sites) of a cell.

    >>> import torch
    >>> DCT((1, 4))(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]))[0][0, 0, 0]  # the mean, 3, times 2
    tensor(6.)
    """

    matrix: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.sites = event_shape[1:]
        if not self.sites:
            raise InputError("events (C, *sites)", str(tuple(event_shape)))
        self.register_buffer("matrix", cosines(self.sites).to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each cell to its block spin and its details."""
        return self._product(x, self._exact(x).mT), zero_log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the transposed matrix, which is the inverse."""
        return self._product(y, self._exact(y)), zero_log_det(y)

    def _product(self, x: Tensor, matrix: Tensor) -> Tensor:
        with exactly(x.device):
            return (x.flatten(2) @ matrix).reshape(x.shape)

    def _exact(self, x: Tensor) -> Tensor:
        """The matrix in the dtype of the variables, which differs from the dtype of the module under autocast."""
        return self.matrix if self.matrix.dtype == x.dtype else cosines(self.sites).to(x)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DCT:
        super()._apply(fn, recurse)
        self.matrix = cosines(self.sites).to(self.matrix)  # a conversion would keep the digits of float32
        return self


def cosines(sites: Sequence[int]) -> Tensor:
    """The matrix of the orthonormal cosine transform of a cell, (variables, sites), float64.

    Args:
        sites: the edges of the cell; its sites are in row-major order.
    """
    edges = []
    for n in sites:
        k, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
        edge = torch.cos(math.pi / (2 * n) * k * (2 * j + 1)) * math.sqrt(2 / n)
        edge[0] = math.sqrt(1 / n)
        edges.append(edge)
    return reduce(torch.kron, edges)


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
