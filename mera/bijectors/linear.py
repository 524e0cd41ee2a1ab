"""Linear maps of all variables of an event, or of the channels at each site (1 x 1 convolutions)."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera._utils.precision import exactly
from mera.bijectors.base import Bijector, in_dtype, log_det_dtype

SMALL = 48
"""Up to this number of variables, a product with one matrix for all sites is faster than one for each site."""


class _Linear(Bijector):
    """The product y = W x, where x holds the channels at one site if `per_site`, else all variables of an event."""

    def __init__(self, event_shape: tuple[int, ...], per_site: bool = True) -> None:
        super().__init__(event_shape)
        self.per_site = check_flag(per_site, "per_site")
        self.size = event_shape[0] if per_site else math.prod(event_shape)
        self.repeats = math.prod(event_shape) // self.size
        if self.size < 2:
            raise InputError("at least 2 variables to mix", f"event shape {tuple(event_shape)}")

    @abstractmethod
    def _map(self, columns: Tensor) -> Tensor:
        """The product W x, (B, size, repeats)."""

    @abstractmethod
    def _solve(self, columns: Tensor) -> Tensor:
        """The solution x of W x = y, (B, size, repeats)."""

    @abstractmethod
    def _log_abs_det(self) -> Tensor:
        """The scalar ln |det W|."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Multiply by W."""
        with exactly(x.device):
            return self._map(self._columns(x)).reshape(x.shape), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Solve W x = y."""
        with exactly(y.device):
            return self._solve(self._columns(y)).reshape(y.shape), -self._log_det(y)

    def _product(self, weight: Tensor, columns: Tensor) -> Tensor:
        """The product of a matrix (size, size) and columns (B, size, repeats)."""
        if self.repeats > 1 and self.size * self.repeats > SMALL:
            return torch.einsum("ij,bjs->bis", weight, columns)
        if self.repeats > 1:  # torch.kron fails for matrices that are not contiguous
            weight = torch.kron(weight.contiguous(), torch.eye(self.repeats, dtype=weight.dtype, device=weight.device))
        return (columns.flatten(1) @ weight.mT).reshape(columns.shape)

    def _columns(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.size, self.repeats)

    def _log_det(self, x: Tensor) -> Tensor:
        return (in_dtype(self._log_abs_det(), log_det_dtype(x)) * self.repeats).expand(x.shape[0])


class LULinear(_Linear):
    r"""A linear map in LU decomposition, :math:`W = P L (U + \mathrm{diag}(d))`.

    :math:`P` is a fixed permutation, :math:`L` is unit lower triangular, :math:`U` is strictly upper triangular, and
    :math:`\ln |\det J|` is the sum of :math:`\ln |d|` for each site (Glow, Kingma and Dhariwal 2018, Eq. 10,
    https://arxiv.org/abs/1807.03039). :math:`W` starts as a random orthogonal matrix, or as the identity.

    Args:
        event_shape: shape (C, *sites) of one event.
        per_site: whether one W acts on the channels of every site, or W acts on all variables together.
        identity: whether W starts as the identity.

    Raises:
        ValueError: if W would act on a single variable.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, event_shape: tuple[int, ...], per_site: bool = True, identity: bool = False) -> None:
        super().__init__(event_shape, per_site)
        n = self.size
        start = torch.eye(n) if check_flag(identity, "identity") else nn.init.orthogonal_(torch.empty(n, n))
        p, lower, upper = torch.linalg.lu(start)
        self.register_buffer("permutation", p.T.argmax(1))  # row i of P^T x is entry `permutation[i]` of x
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(self.size, dtype=self.lower.dtype, device=self.lower.device)
        diagonal = torch.diag(self.sign * torch.exp(self.log_diagonal))
        return self.lower.tril(-1) + eye, self.upper.triu(1) + diagonal

    def _map(self, columns: Tensor) -> Tensor:
        lower, upper = self._factors()
        weight = (lower @ upper).index_select(0, self.permutation.argsort())
        return self._product(weight, columns)

    def _solve(self, columns: Tensor) -> Tensor:
        dtype = log_det_dtype(columns)  # torch solves no linear systems in half precision
        lower, upper = (factor.to(dtype) for factor in self._factors())
        inner = columns.index_select(1, self.permutation).to(dtype).movedim(1, 0)
        inner = torch.linalg.solve_triangular(lower, inner.flatten(1), upper=False, unitriangular=True)
        inner = torch.linalg.solve_triangular(upper, inner, upper=True)
        return inner.view(self.size, columns.shape[0], self.repeats).movedim(1, 0).to(columns.dtype)

    def _log_abs_det(self) -> Tensor:
        return self.log_diagonal.sum(dtype=log_det_dtype(self.log_diagonal))
