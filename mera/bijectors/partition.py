"""Partitions of an event into the two halves that a coupling transforms in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera.bijectors.boxes import Box, PerBox

Grids = Sequence[Tensor]
"""The channels (C, 1, ...) and the coordinates (1, n, ...), ... of sites, as open grids."""


def even_sites(grids: Grids) -> Tensor:
    """True where the sum of a site's coordinates is even."""
    return reduce(torch.add, grids[1:]) % 2 == 0


def checkerboard(event_shape: tuple[int, ...]) -> Tensor:
    """A bool mask of the shape (C, *sites) of an event that is true where the sum of a site's coordinates is even.

    >>> checkerboard((1, 2, 4)).int()
    tensor([[[1, 0, 1, 0],
             [0, 1, 0, 1]]], dtype=torch.int32)
    """
    channels, *sites = check_shape(event_shape, "event_shape")
    if not sites:
        raise InputError("an event shape of channels and sites", str(tuple(event_shape)))
    return even_sites(Box.whole(sites).grids(channels)).expand(channels, *sites).clone()


class Partition(nn.Module, ABC):
    """A split of events into two halves, which can be merged again.

    Args:
        event_shape: shape (C, *sites) of one event.
        shapes: shapes of the first and of the second half.
    """

    def __init__(self, event_shape: tuple[int, ...], shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.shapes = shapes

    @abstractmethod
    def split(self, x: Tensor, sites: Box | None = None) -> tuple[Tensor, Tensor]:
        """Split events (B, *event_shape) into their first and second halves, (B, *shape) each.

        Or split values (B, C, *sites.shape) at some sites of a lattice, if both halves are on lattices.
        """

    @abstractmethod
    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Merge two halves to events (B, *event_shape)."""

    def cut(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cut dimension 1, which has the first half before the second, in two; the gradient is one operation."""
        first, second = x.split_with_sizes([shape[0] for shape in self.shapes], 1)
        return first, second

    def confine(self, values: Tensor, index: int, sites: Box | None = None) -> Tensor:
        """Set values (B, ..., *shape) to zero where half `index` has no variable; by default they are unchanged."""
        return values


class Gather(Partition):
    """Two vectors: the variables where a mask is true, and the variables where it is false.

    Args:
        mask: bool tensor of the shape of an event, true for the variables of the first half, but not for all or none.
    """

    order: Tensor
    back: Tensor

    def __init__(self, mask: Tensor) -> None:
        _check_mask(mask)
        flat = mask.flatten()
        count = int(flat.sum())
        super().__init__(tuple(mask.shape), ((count,), (flat.numel() - count,)))
        order = torch.cat([flat.nonzero()[:, 0], (~flat).nonzero()[:, 0]])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def split(self, x: Tensor, sites: Box | None = None) -> tuple[Tensor, Tensor]:
        """Split events (B, *event_shape) into vectors (B, n) and (B, N - n)."""
        return self.cut(x.flatten(1).index_select(1, self.order))

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Merge vectors (B, n) and (B, N - n) to events (B, *event_shape)."""
        return torch.cat([first, second], dim=1).index_select(1, self.back).view(-1, *self.event_shape)


class Masked(Partition):
    """Whole events with zeros in place of the other half, for conditioners that need the lattice, as convolutions do.

    The mask is a function of sites, so that it also fits a part of the lattice, or another one.

    Args:
        event_shape: shape (C, *sites) of one event.
        mask: a function from open grids of channels and coordinates to bools, true for the variables of the first half;
            by default they are those at sites whose coordinates have an even sum.
    """

    def __init__(self, event_shape: tuple[int, ...], mask: Callable[[Grids], Tensor] = even_sites) -> None:
        shape = check_shape(event_shape, "event_shape")
        super().__init__(shape, (shape, shape))
        self.mask = mask
        self.rule = f"{mask.__module__}.{getattr(mask, '__qualname__', mask)}"  # tells flows of other masks apart
        self._masks = PerBox(self._computed_masks)
        _check_mask(self._computed_masks(Box.whole(shape[1:]))[0])

    def split(self, x: Tensor, sites: Box | None = None) -> tuple[Tensor, Tensor]:
        """Split events (B, *event_shape) into two tensors of the same shape."""
        return self.confine(x, 0, sites), self.confine(x, 1, sites)

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Add the halves; each is zero at the variables of the other half."""
        return first + second

    def confine(self, values: Tensor, index: int, sites: Box | None = None) -> Tensor:
        """Set values to zero at the variables of the other half."""
        return values * self._masks(values, sites)[index]

    def _computed_masks(self, sites: Box) -> Tensor:
        """The masks of both halves at some sites."""
        first = self.mask(sites.grids(self.event_shape[0])).expand(self.event_shape[0], *sites.shape)
        return torch.stack([first, ~first])


class ChannelHalves(Partition):
    """Some channels, and the other channels; by default the first half of them, rounded up, and the remaining ones.

    Args:
        event_shape: shape (C, *sites) of one event, with C >= 2.
        first: the channels of the first half, by index, but not all; None for the first half of the channels.
    """

    order: Tensor | None
    back: Tensor | None

    def __init__(self, event_shape: tuple[int, ...], first: Sequence[int] | None = None) -> None:
        channels, *sites = check_shape(event_shape, "event_shape")
        left = sorted(set(first)) if first is not None else list(range((channels + 1) // 2))
        right = [channel for channel in range(channels) if channel not in left]
        if not left or not right or len(left) + len(right) != channels:
            raise InputError("at least 2 channels, some of them by index", f"{channels} and first={first!r}")
        super().__init__(event_shape, ((len(left), *sites), (len(right), *sites)))
        order = None if left[-1] < right[0] else torch.tensor(left + right)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", None if order is None else order.argsort(), persistent=False)

    def split(self, x: Tensor, sites: Box | None = None) -> tuple[Tensor, Tensor]:
        """Split events (B, C, *sites) into (B, n, *sites) and (B, C - n, *sites)."""
        return self.cut(x if self.order is None else x.index_select(1, self.order))

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Put the channels of both halves back in their order."""
        x = torch.cat([first, second], dim=1)
        return x if self.back is None else x.index_select(1, self.back)


def _check_mask(mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise InputError("a mask of dtype bool", str(mask.dtype))
    if mask.all() or not mask.any():
        raise InputError("a mask that leaves variables on both sides", f"{int(mask.sum())} of {mask.numel()}")
