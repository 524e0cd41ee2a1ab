"""Bijectors that transform each variable independently of all others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mera._utils.checks import check_positive
from mera._utils.door import checked
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.univariate import Univariate, transform


class _Elementwise(Bijector):
    """A bijector that transforms each variable independently and takes no context."""

    per_site = True

    @checked
    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)


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
        self.slope = check_positive(slope, "the slope", most=1e6)

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
    """A `Univariate` map with learnt parameters for each variable, or each channel, which depend on no variables.

    Args:
        event_shape: shape (C, *sites) of one event.
        transform: the map, for example `RationalQuadratic()`.
        sites: a bool mask of the sites of an event whose variables are transformed; None for all. Other variables stay.
        per_channel: whether all sites of a channel share their parameters.

    Raises:
        ValueError: if the mask has another shape than the sites, is false everywhere, or comes with `per_channel`.
    """

    of_angles = None
    sites: Tensor | None

    @checked
    def __init__(
        self,
        event_shape: tuple[int, ...],
        transform: Univariate,
        sites: Tensor | None = None,
        per_channel: bool = False,
    ) -> None:
        super().__init__(event_shape)
        self.transform = transform
        shape: tuple[int, ...] = (event_shape[0], *(1 for _ in event_shape[1:])) if per_channel else event_shape
        if per_channel and sites is not None:
            raise InputError("sites or per_channel", "both")
        if sites is not None:
            if sites.dtype != torch.bool or tuple(sites.shape) != tuple(event_shape[1:]) or not sites.any():
                raise InputError(
                    f"a bool mask {tuple(event_shape[1:])} of some sites", f"{sites.dtype} {tuple(sites.shape)}"
                )
            sites = sites.flatten().nonzero()[:, 0]
            shape = event_shape[0], len(sites)
        self.params = nn.Parameter(torch.zeros(transform.n_params, *shape))
        self.register_buffer("sites", sites, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable with its parameters."""
        return self._map(x, inverse=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable back with its parameters."""
        return self._map(y, inverse=True)

    def _map(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Apply the map, or its inverse, to the variables that it transforms."""
        changed = x if self.sites is None else x.flatten(2).index_select(2, self.sites)
        shape = x.shape[0], self.transform.n_params, *changed.shape[1:]
        changed, log_slope = transform(self.transform, changed, self.params.expand(shape), inverse)
        if self.sites is not None:
            changed = x.flatten(2).index_copy(2, self.sites, changed).view(x.shape)
        return changed, log_slope.flatten(1).sum(1, dtype=log_det_dtype(x))
