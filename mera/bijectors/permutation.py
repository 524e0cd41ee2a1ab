"""Permutations of variables or of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera.bijectors.base import zero_log_det
from mera.bijectors.local import LocalBijector, equal_log_dets
from mera.bijectors.sites import Sites


class Permutation(LocalBijector):
    """Reorder all variables of an event, or the channels at each site; the log-det is 0.

    The order is part of the state dict.

    Args:
        event_shape: shape (C, *sites) of one event.
        order: input position of each output position, a permutation of 0, ..., n - 1; random if None.
        per_site: whether to reorder the channels of every site, or all variables.

    Raises:
        ValueError: if the order is not a permutation of 0, ..., n - 1.
    """

    order: Tensor

    of_angles = None

    def __init__(
        self, event_shape: tuple[int, ...], order: Tensor | Sequence[int] | None = None, per_site: bool = True
    ) -> None:
        super().__init__(event_shape)
        self.per_site = check_flag(per_site, "per_site")
        n = event_shape[0] if per_site else math.prod(event_shape)
        order = torch.randperm(n) if order is None else torch.as_tensor(order)
        integers = not order.is_floating_point() and order.dtype != torch.bool
        if not integers or order.shape != (n,) or order.sort().values.tolist() != list(range(n)):
            raise InputError(f"a permutation of 0 to {n - 1}", str(order.tolist()))
        self.register_buffer("order", order.long())

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Sites | None) -> tuple[Tensor, Tensor]:
        """Reorder, or undo it."""
        order = self.order.argsort() if inverse else self.order
        y = (x if self.per_site else x.flatten(1)).index_select(1, order).reshape(x.shape)
        return y, equal_log_dets(zero_log_det(x[:1]).sum(), x, inverse, sites)
