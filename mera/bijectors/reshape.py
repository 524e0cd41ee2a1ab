"""Bijectors of the same variables in another arrangement."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from mera._utils.checks import check_count
from mera.bijectors.base import Bijector, backwards, forwards
from mera.bijectors.context import join, joined_shape

__all__ = ["Conditioned", "Squeezed"]


class Squeezed(Bijector):
    """A bijector of an event whose cells of `stride` sites are turned into channels, and back behind it.

    As between `layout.squeeze` and its inverse (Real NVP, Dinh et al. 2017, Fig. 3), but within one node.

    Args:
        event_shape: the shape of one event, (C, *sites).
        make: makes the bijector within from the squeezed shape, (C * cell, *sites / stride).
        stride: sites of a cell in each dimension.

    Raises:
        ValueError: if the stride does not divide the sites, or the bijector within takes a context at each site.
    """

    def __init__(
        self, event_shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Bijector], stride: int = 2
    ) -> None:
        channels, *sites = event_shape
        check_count(stride, "the stride", 2)
        if any(n % stride for n in sites):
            raise ValueError(f"Expected sites that the stride {stride} divides; got {tuple(event_shape)}")
        within = make((channels * stride ** len(sites), *(n // stride for n in sites)))
        if within.context_shape is not None and len(within.context_shape) > 1:
            raise ValueError(f"Expected a bijector of one context for all sites; got {within.context_shape}")
        super().__init__(event_shape, within.context_shape)
        self.bijector = within
        axes = [f"n{d}" for d in range(len(sites))]
        blocks, outer = " ".join(f"({a} s{a})" for a in axes), " ".join(axes)
        inner = " ".join(f"s{a}" for a in axes)
        self.patterns = f"b c {blocks} -> b ({inner} c) {outer}", f"b ({inner} c) {outer} -> b c {blocks}"
        self.sizes = {f"s{a}": stride for a in axes}

    @property
    def circular(self) -> bool:
        """Whether the window of the bijector within does."""
        return self.bijector.circular

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Squeeze, transform, and back; see `Bijector`."""
        y, log_det = forwards(self.bijector, rearrange(x, self.patterns[0], **self.sizes), context)
        return rearrange(y, self.patterns[1], **self.sizes), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same with the inverse within; see `Bijector`."""
        x, log_det = backwards(self.bijector, rearrange(y, self.patterns[0], **self.sizes), context)
        return rearrange(x, self.patterns[1], **self.sizes), log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Let the bijector within start from the squeezed data."""
        y = self.bijector.initialize(rearrange(x, self.patterns[0], **self.sizes), context)
        return rearrange(y, self.patterns[1], **self.sizes)


class Conditioned(Bijector):
    r"""The first channels stay as they are and are a context for a bijector of the others.

    y = (x1, f(x2; x1)), log \|det J\| that of f: details may follow p(details | coarse image) (Wavelet Flow, Yu et al.
    2020, arXiv 2010.13821).

    Args:
        event_shape: the shape of one event, (C, *sites).
        passive: how many channels stay.
        make: makes f from the other channels' shape and the shape of its context: the first channels, and behind them
            those of a context.
        context_shape: the shape of a context beside them.

    Raises:
        ValueError: if no channel or all channels would stay, or f takes no such context.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        passive: int,
        make: Callable[[tuple[int, ...], tuple[int, ...]], Bijector],
        context_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape)
        channels, *sites = event_shape
        if not 0 < passive < channels:
            raise ValueError(f"Expected from 1 to {channels - 1} passive channels; got {passive}")
        self._passive = passive
        given = joined_shape((passive, *sites), context_shape)
        self.bijector = make((channels - passive, *sites), given)
        if self.bijector.context_shape != given:
            raise ValueError(f"Expected a bijector of context {given}; got {self.bijector.context_shape}")

    @property
    def passive(self) -> int:
        """The first channels."""
        return self._passive

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """That of the bijector within."""
        return self.bijector.receptive_kernel

    @property
    def circular(self) -> bool:
        """Whether the window of the bijector within does."""
        return self.bijector.circular

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        given, rest = x[:, : self.passive], x[:, self.passive :]
        rest, log_det = forwards(self.bijector, rest, join(given, context, self.context_shape))
        return torch.cat([given, rest], dim=1), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Bijector`."""
        given, rest = y[:, : self.passive], y[:, self.passive :]
        rest, log_det = backwards(self.bijector, rest, join(given, context, self.context_shape))
        return torch.cat([given, rest], dim=1), log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Let the bijector within start from the channels that it changes."""
        given, rest = x[:, : self.passive], x[:, self.passive :]
        rest = self.bijector.initialize(rest, join(given, context, self.context_shape))
        return torch.cat([given, rest], dim=1)
