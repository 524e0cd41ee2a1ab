"""Bijectors that transform each variable independently of all others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera._utils.checks import check_interval
from mera._utils.door import checked
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.univariate import Univariate


class _Elementwise(Bijector):
    """A bijector that transforms each variable independently and takes no context."""

    @checked
    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """A window of one site."""
        return None if self.event_shape is None else (1,) * (len(self.event_shape) - 1)


class LeakyReLU(_Elementwise):
    r"""The leaky ReLU :math:`y = x` for :math:`x \ge 0`, :math:`y = a x` for :math:`x < 0`.

    :math:`\ln |\det J|` is :math:`\ln a` times the number of negative variables.

    Args:
        event_shape: shape (C, *sites) of one event.
        slope: :math:`a > 0`.

    Raises:
        ValueError: if the slope is not a number above 0, up to 1e6.
    """

    @checked
    def __init__(self, event_shape: tuple[int, ...], slope: float = 0.5) -> None:
        super().__init__(event_shape)
        self.slope = check_interval(slope, "the slope", 0, 1e6)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale the negative variables."""
        return torch.where(x < 0, x * self.slope, x), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the scaling of the negative variables."""
        return torch.where(y < 0, y / self.slope, y), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return math.log(self.slope) * (x < 0).flatten(1).sum(1, dtype=log_det_dtype(x))


class Asinh(_Elementwise):
    r"""The inverse hyperbolic sine :math:`y = \mathrm{asinh}(x)`, which turns heavy tails into light tails.

    .. math:: \ln |\det J| = -\frac{1}{2} \sum \ln(1 + x^2)

    Args:
        event_shape: shape (C, *sites) of one event.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply asinh."""
        y = torch.asinh(x)
        return y, self._log_det(y)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply sinh, which overflows single precision beyond absolute values of 88."""
        return torch.sinh(y), -self._log_det(y)

    def _log_det(self, y: Tensor) -> Tensor:
        """The sum of -ln cosh y, computed without cosh, which overflows."""
        size = y.abs()
        log_cosh = size + torch.log1p(torch.exp(-2 * size)) - math.log(2)
        return -log_cosh.flatten(1).sum(1, dtype=log_det_dtype(y))


class Elementwise(_Elementwise):
    """A `Univariate` map with learnt parameters for each variable, which do not depend on other variables.

    Args:
        event_shape: shape (C, *sites) of one event.
        transform: the map, for example `RationalQuadratic()`.
    """

    of_angles = None

    @checked
    def __init__(self, event_shape: tuple[int, ...], transform: Univariate) -> None:
        super().__init__(event_shape)
        self.transform = transform
        self.params = nn.Parameter(torch.zeros(transform.n_params, *event_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable with its own parameters."""
        y, log_slope = self.transform(x, self.params.expand(x.shape[0], *self.params.shape))
        return y, log_slope.flatten(1).sum(1, dtype=log_det_dtype(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable back with its own parameters."""
        x, log_slope = self.transform.inverse(y, self.params.expand(y.shape[0], *self.params.shape))
        return x, log_slope.flatten(1).sum(1, dtype=log_det_dtype(y))
