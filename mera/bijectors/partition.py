"""Partitions of an event into the two halves that a coupling transforms in turn."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mera._utils.checks import check_shape
from mera._utils.errors import InputError


def checkerboard(event_shape: tuple[int, ...]) -> Tensor:
    """A bool mask (C, *sites) that is true where the sum of a site's coordinates is even.

    Args:
        event_shape: shape (C, *sites) of one event.

    Raises:
        ValueError: if the event has no sites.

    >>> checkerboard((1, 2, 4)).int()
    tensor([[[1, 0, 1, 0],
             [0, 1, 0, 1]]], dtype=torch.int32)
    """
    channels, *sites = check_shape(event_shape, "event_shape")
    if not sites:
        raise InputError("an event shape of channels and sites", str(tuple(event_shape)))
    coordinates = torch.meshgrid(*(torch.arange(n) for n in sites), indexing="ij")
    even = torch.stack(coordinates).sum(0) % 2 == 0
    return even.expand(channels, *sites).clone()


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

    def on_box(self, start: Sequence[int], shape: Sequence[int], cut: Sequence[bool] = ()) -> Partition:
        """The same split of a box of the sites, which begins at `start`, perhaps beyond a periodic border."""
        part = copy.copy(self)
        part._buffers = dict(self._buffers)
        part.event_shape = (self.event_shape[0], *shape)
        part.shapes = ((self.shapes[0][0], *shape), (self.shapes[1][0], *shape))
        return part

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split events (B, *event_shape) into their first and second halves, (B, *shape) each."""

    @abstractmethod
    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Merge two halves to events (B, *event_shape)."""

    def confine(self, values: Tensor, index: int) -> Tensor:
        """Set values (B, ..., *shape) to zero where half `index` has no variable; by default they are unchanged."""
        return values


class Gather(Partition):
    """Two vectors: the variables where a mask is true, and the variables where it is false.

    Args:
        mask: bool tensor of the shape of an event, true for the variables of the first half.

    Raises:
        ValueError: if the mask is not bool, or a half is empty.
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

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split events (B, *event_shape) into vectors (B, n) and (B, N - n)."""
        x = x.flatten(1).index_select(1, self.order)
        first, second = (shape[0] for shape in self.shapes)
        return x.narrow(1, 0, first), x.narrow(1, first, second)

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Merge vectors (B, n) and (B, N - n) to events (B, *event_shape)."""
        x = torch.cat([first, second], dim=1).index_select(1, self.back)
        return x.unflatten(1, self.event_shape)


class Masked(Partition):
    """Whole events with zeros in place of the other half, for conditioners that need the lattice, as convolutions do.

    Args:
        mask: bool tensor of the shape of an event, true for the variables of the first half.

    Raises:
        ValueError: if the mask is not bool, or a half is empty.
    """

    masks: Tensor

    def __init__(self, mask: Tensor) -> None:
        _check_mask(mask)
        super().__init__(tuple(mask.shape), (tuple(mask.shape), tuple(mask.shape)))
        self.register_buffer("masks", torch.stack([mask, ~mask]), persistent=False)

    def on_box(self, start: Sequence[int], shape: Sequence[int], cut: Sequence[bool] = ()) -> Partition:
        """The same split of a box of the sites."""
        part = cast(Masked, super().on_box(start, shape))
        for axis, (first, edge, n) in enumerate(zip(start, shape, self.event_shape[1:], strict=True), start=2):
            sites = torch.arange(first, first + edge, device=self.masks.device) % n
            part.masks = part.masks.index_select(axis, sites)
        return part

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split events (B, *event_shape) into two tensors of the same shape."""
        return self.confine(x, 0), self.confine(x, 1)

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Add the halves; each is zero at the variables of the other half."""
        return first + second

    def confine(self, values: Tensor, index: int) -> Tensor:
        """Set values to zero at the variables of the other half."""
        return values * self.masks[index]


class ChannelHalves(Partition):
    """Some channels, and the other channels; by default the first half of them, rounded up, and the remaining ones.

    Args:
        event_shape: shape (C, *sites) of one event, with C >= 2.
        first: the channels of the first half, by index; None for the first half of the channels.

    Raises:
        ValueError: if there are fewer than 2 channels, or `first` holds none, all, or others than the channels.
    """

    order: Tensor | None
    back: Tensor | None

    def __init__(self, event_shape: tuple[int, ...], first: Sequence[int] | None = None) -> None:
        channels, *sites = check_shape(event_shape, "event_shape")
        if channels < 2:
            raise InputError("at least 2 channels to halve", f"event shape {tuple(event_shape)}")
        chosen = sorted(set(first)) if first is not None else list(range((channels + 1) // 2))
        rest = [channel for channel in range(channels) if channel not in chosen]
        if not chosen or not rest or len(chosen) + len(rest) != channels:
            raise InputError(f"some of {channels} channels, by index", repr(first))
        super().__init__(event_shape, ((len(chosen), *sites), (len(rest), *sites)))
        order = None if chosen[-1] < rest[0] else torch.tensor(chosen + rest)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", None if order is None else order.argsort(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split events (B, C, *sites) into (B, n, *sites) and (B, C - n, *sites)."""
        x = x if self.order is None else x.index_select(1, self.order)
        count = self.shapes[0][0]
        return x[:, :count], x[:, count:]

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Put the channels of both halves back in their order."""
        x = torch.cat([first, second], dim=1)
        return x if self.back is None else x.index_select(1, self.back)


def _check_mask(mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise InputError("a mask of dtype bool", str(mask.dtype))
    if mask.all() or not mask.any():
        raise InputError("a mask that leaves variables on both sides", f"{int(mask.sum())} of {mask.numel()}")
