"""A bijector that transforms each variable independently of all others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.univariate import Univariate, transform


class Elementwise(Bijector):
    """A `Univariate` map with learnt parameters for each variable, which depend on no variables.

    Args:
        event_shape: shape (C, *sites) of one event.
        transform: the map, for example `RationalQuadratic()`.
    """

    of_angles = None
    per_site = True

    def __init__(self, event_shape: tuple[int, ...], transform: Univariate) -> None:
        super().__init__(event_shape)
        self.transform = transform
        self.params = nn.Parameter(torch.zeros(transform.n_params, *event_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable with its parameters."""
        return self._map(x, inverse=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable back with its parameters."""
        return self._map(y, inverse=True)

    def _map(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Apply the map, or its inverse."""
        y, log_slope = transform(self.transform, x, self.params.expand(x.shape[0], *self.params.shape), inverse)
        return y, log_slope.flatten(1).sum(1, dtype=log_det_dtype(x))
