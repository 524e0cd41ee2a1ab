"""Bijectors that rearrange variables, or split off channels, around another bijector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor

from mera._utils.checks import check_count, check_shape
from mera._utils.door import checked
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, context_arguments
from mera.bijectors.context import join, joined_shape


class Squeezed(Bijector):
    """Turn the sites of each cell into channels, apply an inner bijector, and turn the channels back into sites.

    This is the squeezing of Real NVP (Dinh et al. 2017, Fig. 3, https://arxiv.org/abs/1605.08803) and its inverse in
    one node, in place of `layout.squeeze`.

    Args:
        event_shape: shape (C, *sites) of one event.
        make: makes the inner bijector from the squeezed shape, (C * stride^d, *sites / stride) in d dimensions.
        stride: number of sites of a cell in each dimension.

    Raises:
        ValueError: if the stride does not divide the sites, or the inner bijector takes a context at each site.
    """

    of_angles = None

    @checked
    def __init__(
        self, event_shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Bijector], stride: int = 2
    ) -> None:
        channels, *sites = check_shape(event_shape, "event_shape")
        check_count(stride, "the stride", 2)
        if any(n % stride for n in sites):
            raise InputError(f"sites that the stride {stride} divides", str(tuple(event_shape)))
        squeezed = (channels * stride ** len(sites), *(n // stride for n in sites))
        try:
            bijector = make(squeezed)
        except TypeError as error:
            raise InputError("a function make that takes an event shape", f"{make!r}: {error}") from error
        if not isinstance(bijector, Bijector):
            raise InputError("a bijector from make", type(bijector).__name__)
        if bijector.context_shape is not None and len(bijector.context_shape) > 1:
            raise InputError("a bijector of one context for all sites", str(bijector.context_shape))
        super().__init__(event_shape, bijector.context_shape)
        self.bijector, self.circular = bijector, bijector.circular
        axes = [f"n{d}" for d in range(len(sites))]
        blocks, outer = " ".join(f"({a} s{a})" for a in axes), " ".join(axes)
        inner = " ".join(f"s{a}" for a in axes)
        self.patterns = f"b c {blocks} -> b ({inner} c) {outer}", f"b ({inner} c) {outer} -> b c {blocks}"
        self.sizes = {f"s{a}": stride for a in axes}

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Squeeze, apply the inner bijector, and undo the squeezing."""
        y, log_det = self.bijector(self._squeezed(x), *context_arguments(self.bijector, context))
        return self._unsqueezed(y), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Squeeze, apply the inverse of the inner bijector, and undo the squeezing."""
        x, log_det = self.bijector.inverse(self._squeezed(y), *context_arguments(self.bijector, context))
        return self._unsqueezed(x), log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the inner bijector with the squeezed batch."""
        y = self.bijector.initialize(self._squeezed(x), *context_arguments(self.bijector, context))
        return self._unsqueezed(y)

    def _squeezed(self, x: Tensor) -> Tensor:
        return rearrange(x, self.patterns[0], **self.sizes)

    def _unsqueezed(self, x: Tensor) -> Tensor:
        return rearrange(x, self.patterns[1], **self.sizes)


class Conditioned(Bijector):
    r"""Transform some channels conditioned on other channels; all channels but the transformed ones stay as they are.

    .. math:: y_2 = f(x_2; x_1), \qquad \ln |\det J| = \ln |\det \partial f / \partial x_2|

    Wavelet Flow models :math:`p(\mathrm{details} \mid \mathrm{coarse\ image})` like this (Yu et al. 2020,
    https://arxiv.org/abs/2010.13821).

    Args:
        event_shape: shape (C, *sites) of one event.
        read: the channels :math:`x_1`: how many of the first channels, or their indices.
        make: makes :math:`f` from the shape of :math:`x_2` and the shape of the context of :math:`f`, which is
            :math:`x_1`, followed by the channels of this bijector's context.
        context_shape: shape of a context in addition to :math:`x_1`; None for no context.
        changed: the channels :math:`x_2`, by index; None for all channels but :math:`x_1`.

    Raises:
        ValueError: if no channel is read or changed, a channel is both or does not exist, or :math:`f` has another
            context shape.
    """

    of_angles = None
    read: Tensor
    changed: Tensor

    @checked
    def __init__(
        self, event_shape: tuple[int, ...], read: int | Sequence[int],
        make: Callable[[tuple[int, ...], tuple[int, ...]], Bijector], context_shape: tuple[int, ...] | None = None,
        changed: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(event_shape, context_shape)
        channels, *sites = event_shape
        first = list(read) if isinstance(read, Sequence) else list(range(min(int(read), channels)))
        second = [c for c in range(channels) if c not in first] if changed is None else list(changed)
        if not first or not second or len({*first, *second} & {*range(channels)}) < len(first) + len(second):
            got = f"{read} to read" + (f", {second} to change" if changed is not None else "")
            raise InputError(f"some of {channels} channels to read, and others to change", got)
        inner_context = joined_shape((len(first), *sites), context_shape)
        self.bijector = make((len(second), *sites), inner_context)
        if self.bijector.context_shape != inner_context:
            raise InputError(f"a bijector of context {inner_context}", str(self.bijector.context_shape))
        self.passive, self.circular = min(second), self.bijector.circular
        self.register_buffer("read", torch.tensor(first), persistent=False)
        self.register_buffer("changed", torch.tensor(second), persistent=False)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of the inner bijector."""
        return self.bijector.receptive_kernel

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform the channels that change."""
        values, log_det = self.bijector(x.index_select(1, self.changed), self._context(x, context))
        return self._replaced(x, values), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform them back; the channels that are read are known in both directions."""
        values, log_det = self.bijector.inverse(y.index_select(1, self.changed), self._context(y, context))
        return self._replaced(y, values), log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the inner bijector with the channels that change."""
        values = self.bijector.initialize(x.index_select(1, self.changed), self._context(x, context))
        return self._replaced(x, values)

    def _replaced(self, x: Tensor, values: Tensor) -> Tensor:
        """The event with other values of the channels that change, in the wider dtype of the two."""
        return x.to(torch.promote_types(x.dtype, values.dtype)).index_copy(1, self.changed, values)

    def _context(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The context of the inner bijector."""
        return join(x.index_select(1, self.read), context, self.context_shape)
