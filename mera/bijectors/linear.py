"""Linear maps of variables or channels: learnt matrices, and the cosine transform of a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera._utils.torch_modes import exactly
from mera.bijectors.base import Bijector, log_det_dtype, zero_log_det
from mera.bijectors.boxes import Box
from mera.bijectors.local import LocalBijector, equal_log_dets


class LULinear(LocalBijector):
    r"""A linear map in LU decomposition, :math:`W = P L (U + \mathrm{diag}(d))`.

    :math:`P` is a fixed permutation, :math:`L` is unit lower triangular, :math:`U` is strictly upper triangular, and
    :math:`\ln |\det J|` is the sum of :math:`\ln |d|` for each site (Glow, Kingma and Dhariwal 2018, Eq. 10,
    https://arxiv.org/abs/1807.03039). :math:`W` starts as a random orthogonal matrix, or as the identity.

    Args:
        event_shape: shape (C, *sites) of one event.
        per_site: whether one W acts on the channels of every site, or W acts on all variables together.
        identity: whether W starts as the identity.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, event_shape: tuple[int, ...], per_site: bool = True, identity: bool = False) -> None:
        super().__init__(event_shape)
        self.per_site = check_flag(per_site, "per_site")
        self.size = event_shape[0] if per_site else math.prod(event_shape)
        start = torch.eye(self.size)
        if not check_flag(identity, "identity"):
            nn.init.orthogonal_(start)
        p, lower, upper = torch.linalg.lu(start)
        self.register_buffer("permutation", p.T.argmax(1))  # row i of P^T x is entry `permutation[i]` of x
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Multiply by W, or solve W x = y."""
        rows = (x if self.per_site else x.flatten(1)).transpose(0, 1)
        with exactly(x.device):  # one product for all sites of all events
            y = (self._solution if inverse else self._product)(rows.flatten(1)).view(rows.shape).transpose(0, 1)
        log_det = self.log_diagonal.sum(dtype=log_det_dtype(x))
        return y.reshape(x.shape), equal_log_dets(log_det, x, inverse, sites, of_site=self.per_site)

    def _product(self, columns: Tensor) -> Tensor:
        """W times vectors, the columns of a matrix."""
        lower, upper = self._factors()
        return torch.zeros_like(upper).index_copy(0, self.permutation, torch.addmm(upper, lower, upper)) @ columns

    def _solution(self, columns: Tensor) -> Tensor:
        """The solutions x of W x = y for vectors y, the columns of a matrix."""
        dtype = log_det_dtype(columns)  # torch solves no linear systems in half precision
        lower, upper = (factor.to(dtype) for factor in self._factors())
        columns = columns.index_select(0, self.permutation).to(dtype)
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, columns, upper=True).to(self.upper.dtype)

    def _factors(self) -> tuple[Tensor, Tensor]:
        """L without its diagonal of ones, and U + diag(d)."""
        return self.lower.tril(-1), self.upper.triu(1) + torch.diag(self.sign * torch.exp(self.log_diagonal))


class DCT(Bijector):
    r"""The orthonormal discrete cosine transform (DCT-II) of a cell, channel by channel; the log-det is 0.

    In each dimension, n neighbours are mapped to

    .. math:: y_k = \sqrt{(2 - \delta_{k0}) / n} \sum_{j=0}^{n-1} x_j \cos\frac{\pi k (2j + 1)}{2n}

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
        self.register_buffer("matrix", cosines(self.sites).to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each cell to its block spin and its details."""
        return self.product(x), zero_log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the transposed matrix, which is the inverse."""
        return self.product(y, inverse=True), zero_log_det(y)

    def product(self, x: Tensor, inverse: bool = False, log_scale: Tensor | None = None) -> Tensor:
        """Transform cells, or transform them back, with the block spin multiplied, or divided, by exp(log_scale)."""
        self.check_events(x)
        # under autocast the dtype of the variables differs from that of the module
        matrix = self.matrix if self.matrix.dtype == x.dtype else cosines(self.sites).to(x)
        if log_scale is not None:
            first = torch.eye(len(matrix), 1, dtype=x.dtype, device=x.device)
            matrix = matrix * torch.exp(first * (-log_scale if inverse else log_scale))
        with exactly(x.device):
            return (x.flatten(2) @ (matrix if inverse else matrix.mT)).view(x.shape)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DCT:
        super()._apply(fn, recurse)
        self.matrix = cosines(self.sites).to(self.matrix)  # a conversion would keep the digits of float32
        return self


def cosines(sites: Sequence[int]) -> Tensor:
    """The matrix of the orthonormal cosine transform of a cell of these edges, (variables, sites), float64."""
    edges = []
    for n in sites:
        k, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
        edge = torch.cos(math.pi / (2 * n) * k * (2 * j + 1)) * math.sqrt(2 / n)
        edge[0] = math.sqrt(1 / n)
        edges.append(edge)
    return reduce(torch.kron, edges)
