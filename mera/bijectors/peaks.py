"""The map of the circle from a narrow peak, a von Mises distribution, to a uniform density."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from mera.bijectors.circular import wrap
from mera.bijectors.univariate import Univariate

MAX_CONCENTRATION = 20.0
"""The bound of the concentration of a von Mises distribution."""
UNIFORM_PART = 1e-4
"""The share of a uniform distribution in a von Mises distribution: the map back has slopes below 1e4 everywhere."""


class VonMises(Univariate):
    r"""The distribution function of a von Mises distribution around 0, as a map of the circle.

    .. math:: y = (1 - \epsilon) \int_0^x \frac{e^{\kappa \cos t}}{I_0(\kappa)} dt + \epsilon x

    If y is uniform, x has the density :math:`e^{\kappa \cos x} / (2 \pi I_0(\kappa))`, up to a uniform part
    :math:`\epsilon = 10^{-4}` that keeps the map back from having infinite slopes. That is the heat bath of a site of
    the XY model, whose :math:`\kappa` is :math:`\beta` times the length of the sum of its neighbours' unit vectors.
    The parameter r gives :math:`\kappa = b \tanh(r / b)` with b = 20; a negative :math:`\kappa` peaks at :math:`\pi`.

    The integral is a Gauss-Legendre sum, exact to the digits of the dtype, and the map back is found by Newton steps.
    """

    of_angles = True
    n_params = 1

    def __init__(self) -> None:
        super().__init__()
        self.aligned = {0: 3.0}

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map a peak around 0 to a uniform density."""
        density = _VonMisesDensity(params[:, 0])
        return wrap(density.integral(0, x)), density.at(x).log()

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map a uniform density to a peak around 0; gradients are those of the implicit function."""
        density = _VonMisesDensity(params[:, 0])
        with torch.no_grad():
            x = density.quantile(y)
            slope = density.at(x)
        x = x - (density.integral(0, x) - y) / slope
        return wrap(x), -density.at(x).log()


class _VonMisesDensity:
    """The density of a von Mises distribution with a uniform part, relative to a uniform density."""

    def __init__(self, raw: Tensor) -> None:
        bound = torch.where(raw > 0, MAX_CONCENTRATION, 1.0)  # of a negative concentration, which peaks at pi
        self.kappa = bound * torch.tanh(raw / bound)
        self.factor = (1 - UNIFORM_PART) / torch.special.i0(self.kappa)

    def at(self, x: Tensor) -> Tensor:
        """The density at angles."""
        return torch.addcmul(x.new_full((), UNIFORM_PART), self.factor, torch.exp(self.kappa * x.cos()))

    def integral(self, start: Tensor | float, stop: Tensor | float) -> Tensor:
        """The integral from one angle to another."""
        nodes, weights = (torch.from_numpy(a).to(self.kappa) for a in _quadrature(self.kappa.dtype))
        width = stop - start
        angles = torch.as_tensor(width)[..., None] * nodes
        angles = angles + start[..., None] if isinstance(start, Tensor) else angles
        values = torch.exp(self.kappa[..., None] * angles.cos()) @ weights
        return width * (self.factor * values + UNIFORM_PART)

    def quantile(self, y: Tensor) -> Tensor:
        """Find the angles whose integrals from 0 are y.

        Newton steps solve for the logarithm of the integral from the angle to pi, which is concave.
        """
        tiny, share = torch.finfo(y.dtype).tiny, y.abs() / math.pi
        log_tail = (math.pi * (1 - share)).clamp(min=tiny).log()
        half, narrowing = y.abs() / 2, torch.exp(-0.5 * torch.sign(self.kappa) * torch.log1p(2 * self.kappa.abs()))
        wide = 2 * torch.atan2(half.sin() * narrowing, half.cos()).abs()  # a wrapped Cauchy distribution
        score = math.sqrt(math.pi) * torch.special.i0e(self.kappa) * torch.erfinv(share.clamp(max=1))
        narrow = 2 * torch.asin(score.clamp(max=0.99))  # if the distribution is narrow, sin(x / 2) is about normal
        x = torch.where(self.kappa > 2, narrow, wide)
        for _ in range(3 if y.dtype == torch.float32 else 7):
            mass = self.integral(x, math.pi).clamp(min=tiny)
            step = (mass.log() - log_tail) * mass / self.at(x)
            x = torch.minimum(torch.maximum(x + step, x / 2), (x + math.pi) / 2)
        return torch.copysign(x, y)


@cache
def _quadrature(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1], exact to the digits of a dtype."""
    nodes, weights = np.polynomial.legendre.leggauss(16 if dtype == torch.float32 else 24)
    return (nodes + 1) / 2, weights / 2
