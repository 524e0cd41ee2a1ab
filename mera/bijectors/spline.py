"""Monotone rational-quadratic splines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.checks import check_count, check_positive
from mera.bijectors.univariate import Univariate

SMALLEST = 0.5
"""The smallest width and height of a bin, relative to equal bins; the smallest slope at a knot is an eighth of it. With
0.5 a chain of splines can be inverted in single precision, with 0.1 often not."""
STRONGEST = 2.0
"""The bound of the parameters, which limits how far rounding errors of the conditioner can move a knot."""


class RationalQuadratic(Univariate):
    r"""A monotone rational-quadratic spline within :math:`[-B, B]`, and the identity outside.

    Durkan et al. (2019), Eq. 4 to 8, https://arxiv.org/abs/1906.04032. Each variable has 3 K - 1 parameters: K for the
    widths of the bins, K for their heights, and K - 1 for the slopes at the knots between bins; at the ends the slope
    is 1. In a bin of width :math:`w`, height :math:`h`, and slopes :math:`d_0` and :math:`d_1` at its ends, the spline
    is, with :math:`s = h / w` and the position :math:`t \in [0, 1]` in the bin,

    .. math:: y = y_0 + h \, \frac{s t^2 + d_0 t (1 - t)}{s + (d_0 + d_1 - 2 s) \, t (1 - t)}.

    Args:
        bins: K, 2 or more.
        bound: B, up to 10,000.
    """

    def __init__(self, bins: int = 8, bound: float = 4.0) -> None:
        super().__init__()
        self.bins = check_count(bins, "bins", 2)
        self.bound = check_positive(bound, "the bound", most=1e4)
        self.n_params = 3 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the spline."""
        is_inside, value = self._inside(x)
        bin = self._bin(value, params, of=0)
        y, log_slope = bin.at(((value - bin.x0) / bin.width).clamp(0, 1))
        return torch.where(is_inside, y, x), torch.where(is_inside, log_slope, 0)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Solve a quadratic equation for t, with the formula of its root that does not cancel digits."""
        is_inside, value = self._inside(y)
        bin = self._bin(value, params, of=1)
        above = value - bin.y0
        bend = above * bin.excess
        a = torch.addcmul(bend, bin.height, bin.slope - bin.d0)
        b = torch.addcmul(-bend, bin.height, bin.d0)
        c = -bin.slope * above
        root = (b.square() - 4 * a * c).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
        positive = b >= 0
        t = (torch.where(positive, -2 * c, root - b) / torch.where(positive, b + root, 2 * a)).clamp(0, 1)
        x = torch.addcmul(bin.x0, bin.width, t)
        return torch.where(is_inside, x, y), torch.where(is_inside, -bin.at(t)[1], 0)

    def _inside(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """A mask of the values within the bound, and the values with 0 elsewhere, which keeps all gradients finite."""
        is_inside = value.abs() <= self.bound
        return is_inside, torch.where(is_inside, value, 0)

    def _bin(self, value: Tensor, params: Tensor, of: int) -> _Bin:
        """Find the bin of each value (B, *shape) within the bound: a position if `of` is 0, a height if `of` is 1."""
        sizes, slopes = params.tensor_split([2 * self.bins], dim=1)
        shares = self._shares(sizes.unflatten(1, (2, self.bins)))
        with torch.no_grad():  # the index of a bin is the number of bins whose upper end is below the value
            ends = shares[:, of].cumsum(1).mul_(2 * self.bound).sub_(self.bound)
            ends[:, -1] = math.inf
            above = (value[:, None] >= ends).to(value.dtype)
            index = above.sum(1, keepdim=True).long()
        x0, y0 = (2 * self.bound * (shares * above[:, None]).sum(2) - self.bound).unbind(1)
        index_of_sizes = index[:, None].expand(-1, 2, *index.shape[1:])
        width, height = (2 * self.bound * _pick(shares, index_of_sizes, 2)).unbind(1)
        slopes = self._ends(slopes)
        d0, d1 = (self._slope(_pick(slopes, index + side, 1)) for side in (0, 1))
        return _Bin(x0, y0, width, height, height / width, d0, d1)

    def _shares(self, sizes: Tensor) -> Tensor:
        """Widths or heights of the bins of an interval of length 1, from their parameters along dimension 2."""
        # softmax(strongest * tanh(sizes / strongest)) in fewer operations
        bounded = 2 * STRONGEST * torch.sigmoid(2 / STRONGEST * sizes)
        return torch.add(SMALLEST / self.bins, torch.softmax(bounded, dim=2), alpha=1 - SMALLEST)

    def _slope(self, params: Tensor) -> Tensor:
        """Slopes at knots from their parameters; 0 is mapped to 1."""
        least = SMALLEST / 8
        unit = math.log(math.expm1(1 - least))
        return least + F.softplus(STRONGEST * torch.tanh(params / STRONGEST) + unit)

    def _ends(self, slopes: Tensor) -> Tensor:
        """Add the parameters at the two ends, where the slope is 1, along dimension 1: K - 1 to K + 1 knots."""
        end = torch.zeros_like(slopes[:, :1])
        return torch.cat([end, slopes, end], dim=1)


def _pick(values: Tensor, index: Tensor, dim: int) -> Tensor:
    """Gather values at an index of length 1 along a dimension, and drop that dimension."""
    return values.gather(dim, index).squeeze(dim)


class _Bin(NamedTuple):
    """The bin of each variable: lower corner, width and height, mean slope, and the slopes at both ends."""

    x0: Tensor
    y0: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    d0: Tensor
    d1: Tensor

    @property
    def excess(self) -> Tensor:
        """The sum of the slopes at both ends minus twice the mean slope."""
        return torch.add(self.d0 + self.d1, self.slope, alpha=-2)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The spline at positions t in the bins, and the logarithms of its slopes dy/dx."""
        rest = 1 - t
        mixed = t * rest
        bottom = torch.addcmul(self.slope, self.excess, mixed)
        y = self.y0 + self.height * (self.slope * t.square() + self.d0 * mixed) / bottom
        top = self.d1 * t.square() + 2 * self.slope * mixed + self.d0 * rest.square()
        return y, torch.log(top * (self.slope / bottom).square())
