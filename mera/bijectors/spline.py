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
    r"""A monotone spline within [-B, B] and the identity beyond (Durkan et al. 2019, arXiv 1906.04032, Eq. 4 to 8).

    Of each variable's 3 K - 1 parameters K say how wide the bins are, K how high, and K - 1 how steep the spline is at
    the knots between; at the ends it has slope 1. In a bin of width w, height h, slopes d0 and d1 at its ends and
    s = h / w, with t in [0, 1] along it,

        y = y0 + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t)).

    Args:
        bins: K.
        bound: B.
        smallest: the least width and height of a bin, in those of K equal bins; an eighth of it is the least slope at a
            knot. With the default a chain of splines can be inverted in single precision; with 0.1 it often cannot.
        strongest: the bound of the parameters, so that however large a conditioner's input is, rounding in it cannot
            move a knot far.

    Raises:
        ValueError: if there is no such spline.
    """

    def __init__(self, bins: int = 8, bound: float = 4.0, smallest: float = 0.5, strongest: float = 2.0) -> None:
        super().__init__()
        self.bins = check_count(bins, "bins", 2)
        self.bound = check_interval(bound, "the bound", 0, 1e4)
        self.smallest = check_interval(smallest, "the smallest size of a bin", 0, 0.99)
        self.strongest = check_interval(strongest, "the bound of the parameters", 0, 20)
        self.n_params = 3 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The spline."""
        dtype = x.dtype
        x, params = in_single(x, params)
        inside, x_within = self._within(x)
        xs, ys, slopes = self._knots(params)
        piece = _Bin.at(x_within, xs, xs, ys, slopes)
        t = ((x_within - piece.x0) / piece.width).clamp(0, 1)
        top, bottom = piece.fraction(t)
        y = piece.y0 + piece.height * top / bottom
        return torch.where(inside, y, x).to(dtype), torch.where(inside, piece.log_slope(t), 0)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The root in [0, 1] of a quadratic equation, by whichever of its two forms cancels no digits."""
        dtype = y.dtype
        y, params = in_single(y, params)
        inside, y_within = self._within(y)
        xs, ys, slopes = self._knots(params)
        piece = _Bin.at(y_within, ys, xs, ys, slopes)
        above = y_within - piece.y0
        bend = above * (piece.d0 + piece.d1 - 2 * piece.slope)
        a = piece.height * (piece.slope - piece.d0) + bend
        b = piece.height * piece.d0 - bend
        c = -piece.slope * above
        root = torch.sqrt((b.square() - 4 * a * c).clamp(min=torch.finfo(y.dtype).tiny))
        positive = b >= 0
        t = torch.where(positive, -2 * c, root - b) / torch.where(positive, b + root, 2 * a)
        t = t.clamp(0, 1)
        x = piece.x0 + piece.width * t
        return torch.where(inside, x, y).to(dtype), torch.where(inside, -piece.log_slope(t), 0)

    def _within(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Whether a value is where the spline is; and the value, or a harmless one: gradients must be finite."""
        inside = value.abs() < self.bound
        return inside, torch.where(inside, value, 0)

    def _knots(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the K + 1 knots are, how high, and how steep the spline is there: each (B, *shape, K + 1)."""
        params = self.strongest * torch.tanh(params.movedim(1, -1) / self.strongest)
        widths, heights, slopes = params.split([self.bins, self.bins, self.bins - 1], dim=-1)
        least = self.smallest / 8
        unit = math.log(math.expm1(1 - least))  # parameters of 0 are to give slope 1
        slopes = F.pad(least + F.softplus(slopes + unit), (1, 1), value=1.0)
        return self._ends(widths), self._ends(heights), slopes

    def _ends(self, sizes: Tensor) -> Tensor:
        """Borders of bins that fill [-B, B], the last one exactly."""
        shares = self.smallest / self.bins + (1 - self.smallest) * F.softmax(sizes, dim=-1)
        between = shares[..., :-1].cumsum(-1) * (2 * self.bound) - self.bound
        return F.pad(F.pad(between, (1, 0), value=-self.bound), (0, 1), value=self.bound)


class _Bin(NamedTuple):
    """The bin of each variable: its corner, sizes, mean slope and the slopes at its ends."""

    x0: Tensor
    y0: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    d0: Tensor
    d1: Tensor

    @classmethod
    def at(cls, value: Tensor, knots: Tensor, xs: Tensor, ys: Tensor, slopes: Tensor) -> _Bin:
        """The bin between whose `knots` a value lies."""
        index = (value[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)
        x0, y0, d0 = (of.gather(-1, index)[..., 0] for of in (xs, ys, slopes))
        x1, y1, d1 = (of.gather(-1, index + 1)[..., 0] for of in (xs, ys, slopes))
        width, height = x1 - x0, y1 - y0
        return cls(x0, y0, width, height, height / width, d0, d1)

    def fraction(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of the spline, without the height."""
        mixed = t * (1 - t)
        return self.slope * t.square() + self.d0 * mixed, self.slope + (self.d0 + self.d1 - 2 * self.slope) * mixed

    def log_slope(self, t: Tensor) -> Tensor:
        """ln dy/dx."""
        bottom = self.fraction(t)[1]
        top = self.d1 * t.square() + 2 * self.slope * t * (1 - t) + self.d0 * (1 - t).square()
        return 2 * torch.log(self.slope / bottom) + torch.log(top)
