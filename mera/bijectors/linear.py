"""A linear map of all variables of an event, or of the channels at each site (1 x 1 convolution)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera._utils.torch_modes import exactly
from mera.bijectors.base import Bijector, constant_by_site, log_det_dtype

MAX_KRONECKER_SIZE = 48
"""Up to this number of variables, a product with one matrix for all sites is faster than one for each site."""


class LULinear(Bijector):
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
        super().__init__(event_shape)
        self.per_site = check_flag(per_site, "per_site")
        self.size = event_shape[0] if per_site else math.prod(event_shape)
        self.repeats = math.prod(event_shape) // self.size
        if self.size < 2:
            raise InputError("at least 2 variables to mix", f"event shape {tuple(event_shape)}")
        start = torch.eye(self.size)
        if not check_flag(identity, "identity"):
            nn.init.orthogonal_(start)
        p, lower, upper = torch.linalg.lu(start)
        self.register_buffer("permutation", p.T.argmax(1))  # row i of P^T x is entry `permutation[i]` of x
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Multiply by W."""
        with exactly(x.device):
            lower, upper = self._factors()
            weight, columns = (lower @ upper).index_select(0, self.permutation.argsort()), self._columns(x)
            if self.repeats > 1 and self.size * self.repeats > MAX_KRONECKER_SIZE:
                return torch.einsum("ij,bjs->bis", weight, columns).reshape(x.shape), self._log_det(x)
            if self.repeats > 1:  # torch.kron fails for matrices that are not contiguous
                eye = torch.eye(self.repeats, dtype=weight.dtype, device=weight.device)
                weight = torch.kron(weight.contiguous(), eye)
            return (columns.flatten(1) @ weight.mT).reshape(x.shape), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Solve W x = y."""
        with exactly(y.device):
            dtype, columns = log_det_dtype(y), self._columns(y)  # torch solves no linear systems in half precision
            lower, upper = (factor.to(dtype) for factor in self._factors())
            inner = columns.index_select(1, self.permutation).to(dtype).movedim(1, 0)
            inner = torch.linalg.solve_triangular(lower, inner.flatten(1), upper=False, unitriangular=True)
            inner = torch.linalg.solve_triangular(upper, inner, upper=True)
            x = inner.view(self.size, y.shape[0], self.repeats).movedim(1, 0)
            return x.to(y.dtype).reshape(y.shape), -self._log_det(y)

    def on_box(self, start: Sequence[int], shape: Sequence[int], cut: Sequence[bool] = ()) -> Bijector:
        """The map of the channels on a box of sites."""
        part = cast(LULinear, super().on_box(start, shape, cut))
        part.repeats = math.prod(shape)
        return part

    def by_site(self, x: Tensor, context: Tensor | None = None, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Multiply by W, or solve; the log-det is the same at all sites."""
        return constant_by_site(self, x, inverse, self.log_diagonal.sum(dtype=log_det_dtype(x)))

    def _columns(self, x: Tensor) -> Tensor:
        """The vectors that W acts on, (B, size, repeats)."""
        return x.reshape(x.shape[0], self.size, self.repeats)

    def _factors(self) -> tuple[Tensor, Tensor]:
        """L and U + diag(d)."""
        eye = torch.eye(self.size, dtype=self.lower.dtype, device=self.lower.device)
        diagonal = torch.diag(self.sign * torch.exp(self.log_diagonal))
        return self.lower.tril(-1) + eye, self.upper.triu(1) + diagonal

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_diagonal.sum(dtype=log_det_dtype(x)) * self.repeats).expand(x.shape[0])
