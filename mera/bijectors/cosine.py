"""The orthonormal cosine transform of a cell; for cells of 2 sites in each dimension, the Haar transform."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.torch_modes import exactly
from mera.bijectors.base import Bijector, zero_log_det


class DCT(Bijector):
    r"""The orthonormal discrete cosine transform (DCT-II) of a cell, channel by channel; the log-det is 0.

    In each dimension, n neighbours are mapped to

    .. math:: y_k = \sqrt{\frac{2 - \delta_{k0}}{n}} \sum_{j=0}^{n-1} x_j \cos\frac{\pi k (2j + 1)}{2n}

    (Ahmed, Natarajan and Rao 1974, https://doi.org/10.1109/T-C.1974.223784). The first variable of a cell is then its
    block spin (Kadanoff 1966), the mean times the square root of the number of sites, and the others are the details. A
    decimation that keeps the first site of each cell therefore keeps the means. With n = 2 this is the Haar transform.

    Args:
        event_shape: shape (C, *sites) of a cell.

    Raises:
        ValueError: if a cell has no sites.

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
