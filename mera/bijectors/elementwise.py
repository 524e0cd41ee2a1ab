"""Maps of each variable by itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera._utils.checks import check_interval
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.univariate import Univariate

__all__ = ["Asinh", "Elementwise", "LeakyReLU"]


class _SiteBySite(Bijector):
    """A bijector that looks at single variables, and at no context."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """A site depends on itself alone."""
        return None if self.event_shape is None else (1,) * (len(self.event_shape) - 1)


class LeakyReLU(_SiteBySite):
    r"""y = x for x >= 0, a x below; log \|det J\| is ln a times the number of negative variables.

    Args:
        event_shape: the shape of one event.
        slope: a > 0.
    """

    def __init__(self, event_shape: tuple[int, ...], slope: float = 0.5) -> None:
        super().__init__(event_shape)
        self.slope = check_interval(slope, "the slope", 0, 1e6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        return torch.where(x < 0, x * self.slope, x), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        return torch.where(y < 0, y / self.slope, y), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return math.log(self.slope) * (x < 0).flatten(1).sum(1, dtype=log_det_dtype(x))


class Asinh(_SiteBySite):
    r"""y = asinh(x), which tames heavy tails; log \|det J\| = -1/2 sum of ln(1 + x^2).

    Args:
        event_shape: the shape of one event.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        y = torch.asinh(x)
        return y, self._log_det(y)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """sinh; beyond |y| = 88 single precision overflows."""
        return torch.sinh(y), -self._log_det(y)

    def _log_det(self, y: Tensor) -> Tensor:
        """-ln cosh y, without cosh, which overflows."""
        size = y.abs()
        log_cosh = size + torch.log1p(torch.exp(-2 * size)) - math.log(2)
        return -log_cosh.flatten(1).sum(1, dtype=log_det_dtype(y))


class Elementwise(_SiteBySite):
    """Any `Univariate` map with parameters that are learnt for each variable, and depend on nothing.

    Args:
        event_shape: the shape of one event.
        transform: the map, `RationalQuadratic()` say.
    """

    def __init__(self, event_shape: tuple[int, ...], transform: Univariate) -> None:
        super().__init__(event_shape)
        self.transform = transform
        self.params = nn.Parameter(torch.zeros(transform.n_params, *event_shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        y, log_slope = self.transform(x, self.params.expand(x.shape[0], *self.params.shape))
        return y, log_slope.flatten(1).sum(1, dtype=log_det_dtype(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        x, log_slope = self.transform.inverse(y, self.params.expand(y.shape[0], *self.params.shape))
        return x, log_slope.flatten(1).sum(1, dtype=log_det_dtype(y))
