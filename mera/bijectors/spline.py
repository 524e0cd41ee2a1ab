"""Monotone rational-quadratic splines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.checks import check_count, check_interval
from mera.bijectors.univariate import Univariate, in_single

__all__ = ["RationalQuadratic"]


class RationalQuadratic(Univariate):
    r"""A monotone rational-quadratic spline within :math:`[-B, B]`, and the identity beyond.

    Durkan et al. (2019), Eq. 4 to 8, https://arxiv.org/abs/1906.04032. Each variable has 3 K - 1 parameters: K for the
    widths of the bins, K for their heights, and K - 1 for the slopes at the knots between bins; at the ends the slope
    is 1. In a bin of width :math:`w`, height :math:`h`, and slopes :math:`d_0` and :math:`d_1` at its ends, the spline
    is, with :math:`s = h / w` and the position :math:`t \in [0, 1]` in the bin,

    .. math:: y = y_0 + h \, \frac{s t^2 + d_0 t (1 - t)}{s + (d_0 + d_1 - 2 s) \, t (1 - t)}.

    Args:
        bins: K.
        bound: B.
        smallest: smallest width and height of a bin, relative to K equal bins; the smallest slope at a knot is an
            eighth of this. With the default, a chain of splines can be inverted in single precision; with 0.1 it often
            cannot.
        strongest: bound of the parameters, so that rounding errors of a conditioner with large inputs cannot move a
            knot far.

    Raises:
        ValueError: if there are fewer than 2 bins, or another argument is out of its range.
    """

    def __init__(self, bins: int = 8, bound: float = 4.0, smallest: float = 0.5, strongest: float = 2.0) -> None:
        super().__init__()
        self.bins = check_count(bins, "bins", 2)
        self.bound = check_interval(bound, "the bound", 0, 1e4)
        self.smallest = check_interval(smallest, "the smallest size of a bin", 0, 0.99)
        self.strongest = check_interval(strongest, "the bound of the parameters", 0, 20)
        self.n_params = 3 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the spline."""
        dtype = x.dtype
        x, params = in_single(x, params)
        inside, x_within = self._within(x)
        xs, ys, slopes = self._knots(params)
        bin = _Bin.at(x_within, xs, xs, ys, slopes)
        t = ((x_within - bin.x0) / bin.width).clamp(0, 1)
        top, bottom = bin.fraction(t)
        y = bin.y0 + bin.height * top / bottom
        return torch.where(inside, y, x).to(dtype), torch.where(inside, bin.log_slope(t), 0)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Solve a quadratic equation for t, by that of two formulas for the root which does not cancel digits."""
        dtype = y.dtype
        y, params = in_single(y, params)
        inside, y_within = self._within(y)
        xs, ys, slopes = self._knots(params)
        bin = _Bin.at(y_within, ys, xs, ys, slopes)
        above = y_within - bin.y0
        bend = above * (bin.d0 + bin.d1 - 2 * bin.slope)
        a = bin.height * (bin.slope - bin.d0) + bend
        b = bin.height * bin.d0 - bend
        c = -bin.slope * above
        root = torch.sqrt((b.square() - 4 * a * c).clamp(min=torch.finfo(y.dtype).tiny))
        positive = b >= 0
        t = torch.where(positive, -2 * c, root - b) / torch.where(positive, b + root, 2 * a)
        t = t.clamp(0, 1)
        x = bin.x0 + bin.width * t
        return torch.where(inside, x, y).to(dtype), torch.where(inside, -bin.log_slope(t), 0)

    def _within(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Whether a value lies within the bound, and the value, or 0 beyond, where gradients must be finite too."""
        inside = value.abs() < self.bound
        return inside, torch.where(inside, value, 0)

    def _knots(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The positions and heights of the K + 1 knots, and the slopes of the spline there, each (B, *shape, K + 1)."""
        params = self.strongest * torch.tanh(params.movedim(1, -1) / self.strongest)
        widths, heights, slopes = params.tensor_split([self.bins, 2 * self.bins], dim=-1)
        least = self.smallest / 8
        unit = math.log(math.expm1(1 - least))  # such that parameters of 0 give slope 1
        return self._ends(widths), self._ends(heights), self._slopes(least + F.softplus(slopes + unit))

    def _slopes(self, between: Tensor) -> Tensor:
        """The slopes at the K + 1 knots, from those at the knots that are free."""
        return F.pad(between, (1, 1), value=1.0)

    def _ends(self, sizes: Tensor) -> Tensor:
        """The borders of bins that fill [-B, B]; the first and the last border are exact."""
        shares = self.smallest / self.bins + (1 - self.smallest) * F.softmax(sizes, dim=-1)
        between = shares[..., :-1].cumsum(-1) * (2 * self.bound) - self.bound
        return F.pad(F.pad(between, (1, 0), value=-self.bound), (0, 1), value=self.bound)


class _Bin(NamedTuple):
    """The bin of each variable: its lower corner, its sizes, its mean slope, and the slopes at its ends."""

    x0: Tensor
    y0: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    d0: Tensor
    d1: Tensor

    @classmethod
    def at(cls, value: Tensor, knots: Tensor, xs: Tensor, ys: Tensor, slopes: Tensor) -> _Bin:
        """The bin that holds a value, found by the positions (or heights) `knots` of the knots."""
        index = (value[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)
        x0, y0, d0 = (of.gather(-1, index)[..., 0] for of in (xs, ys, slopes))
        x1, y1, d1 = (of.gather(-1, index + 1)[..., 0] for of in (xs, ys, slopes))
        width, height = x1 - x0, y1 - y0
        return cls(x0, y0, width, height, height / width, d0, d1)

    def fraction(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of the fraction in the formula of the spline."""
        mixed = t * (1 - t)
        return self.slope * t.square() + self.d0 * mixed, self.slope + (self.d0 + self.d1 - 2 * self.slope) * mixed

    def log_slope(self, t: Tensor) -> Tensor:
        """The logarithm of dy/dx."""
        bottom = self.fraction(t)[1]
        top = self.d1 * t.square() + 2 * self.slope * t * (1 - t) + self.d0 * (1 - t).square()
        return 2 * torch.log(self.slope / bottom) + torch.log(top)
