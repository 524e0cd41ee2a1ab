"""Bijectors that rearrange variables, or split off channels, around another bijector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector
from mera.bijectors.joined_context import join, joined_shape
from mera.bijectors.local import LocalBijector, evaluate
from mera.bijectors.sites import Sites


class Conditioned(LocalBijector):
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
    is_composite = True
    read: Tensor
    changed: Tensor

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

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Sites | None) -> tuple[Tensor, Tensor]:
        """Transform the channels that change, or transform them back; the channels that are read stay."""
        inner, joined = x.index_select(1, self.changed), self._context(x, context)
        values, log_det = evaluate(self.bijector, inner, joined, inverse, sites)
        return self._replaced(x if sites is None else sites.shrink(x, self.radius), values), log_det

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
