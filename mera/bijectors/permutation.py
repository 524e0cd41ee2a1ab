"""Permutations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera._utils.checks import check_flag
from mera.bijectors.base import Bijector, zero_log_det

__all__ = ["Permutation"]


class Permutation(Bijector):
    """Variables, or the channels at each site, in another order, which is part of the state dict; log-det 0.

    Args:
        event_shape: the shape of one event, (C, *sites).
        order: for each place, which variable comes there: a permutation of 0, 1, ...; a random one if None.
        per_site: channels move, the same way at every site; else all variables do.

    Raises:
        ValueError: if the order is no permutation of so many.
    """

    order: Tensor

    def __init__(self, event_shape: tuple[int, ...], order: Tensor | None = None, per_site: bool = True) -> None:
        super().__init__(event_shape)
        self.per_site = check_flag(per_site, "per_site")
        n = event_shape[0] if per_site else math.prod(event_shape)
        order = torch.randperm(n) if order is None else torch.as_tensor(order)
        whole = not order.is_floating_point() and order.dtype != torch.bool
        if not whole or order.shape != (n,) or order.sort().values.tolist() != list(range(n)):
            raise ValueError(f"Expected a permutation of 0 to {n - 1}; got {order.tolist()}")
        self.register_buffer("order", order.long())

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """A site depends on itself alone, if only channels move."""
        return (1,) * (len(self.event_shape or ()) - 1) if self.per_site else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """There; see `Bijector`."""
        return self._moved(x, self.order), zero_log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """And back; see `Bijector`."""
        return self._moved(y, self.order.argsort()), zero_log_det(y)

    def _moved(self, x: Tensor, order: Tensor) -> Tensor:
        return (x if self.per_site else x.flatten(1)).index_select(1, order).reshape(x.shape)
