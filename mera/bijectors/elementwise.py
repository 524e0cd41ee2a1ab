"""Bijectors that transform each variable independently of all others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.univariate import Univariate, transform


class Elementwise(Bijector):
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
    per_site = True
    sites: Tensor | None

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
