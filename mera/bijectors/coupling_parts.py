"""The parts of couplings by name: transforms of single variables, masks, and conditioner networks.

`@mera.bijectors.register_transform("name")` and its like add further ones, which layouts, files and the command line
then know: "coupling(transform='spline(bins=5)', mask='channels')".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.registry import Registry
from mera.bijectors.circular import CircularSpline
from mera.bijectors.conditioners.base import ConditionerFactory
from mera.bijectors.conditioners.published import PatchMLPs, SeparateMLPs
from mera.bijectors.conditioners.residual import ResidualMLP
from mera.bijectors.partition import ChannelHalves, Gather, Grids, Masked, Partition, even_sites
from mera.bijectors.sites import Sites
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Additive, Affine, Scaled, Univariate

Shape = tuple[int, ...]

TRANSFORMS: Registry[Callable[..., Univariate]] = Registry("a transform")
"""From options to the monotone map of a coupling."""
MASKS: Registry[Callable[[Grids], Tensor]] = Registry("a mask", given=1)
"""From open grids of channels (C, 1, ...) and coordinates (1, n, ...), ... to bools, true in the first half."""
CONDITIONERS: Registry[Callable[..., ConditionerFactory]] = Registry("a conditioner", given=3)
"""Networks of patches, see `mera.bijectors.Conditioner`, with the options `hidden` and `blocks`."""

register_transform = TRANSFORMS.register
register_mask = MASKS.register
register_conditioner = CONDITIONERS.register

register_conditioner("joint")(ResidualMLP)
register_conditioner("paper")(SeparateMLPs)
register_conditioner("authors")(PatchMLPs)
register_mask("checkerboard")(even_sites)
register_transform("additive")(Additive)


@register_transform("affine")
def affine(max_log_scale: float = 1.0) -> Univariate:
    """An `Affine` map."""
    return Affine(max_log_scale)


@register_transform("spline")
def spline(bins: int = 8, bound: float = 4.0, max_log_scale: float = 2.0) -> Univariate:
    """A `RationalQuadratic` spline behind a learnt scale and shift, see `Scaled`."""
    return Scaled(RationalQuadratic(bins, bound), max_log_scale)


@register_transform("circular-spline")
def circular_spline(bins: int = 8) -> Univariate:
    """A `CircularSpline` of angles."""
    return CircularSpline(bins)


@register_mask("channels")
def first_channels(grids: Grids) -> Tensor:
    """True in the first half of the channels, rounded up."""
    return grids[0] < (len(grids[0]) + 1) // 2


def halves(event_shape: Shape, mask: str | Sequence[Any] | Tensor, is_field: bool = False) -> Partition:
    """The halves of an event by the option `mask`: two vectors of a patch, or two tensors with sites of a lattice.

    The mask is a name of `MASKS`; or truth values, as nested lists or a tensor, that broadcast to the event's shape.
    """
    if isinstance(mask, str):
        name, options = MASKS.parse(mask, "checkerboard")
        MASKS.check_options(name, options)
        rule: Any = partial(MASKS.get(name), **options)
        first = rule(Sites.whole(event_shape[1:]).grids(event_shape[0]))
    else:
        try:
            rule = first = torch.as_tensor(mask, dtype=torch.bool)
            first.expand(event_shape)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"a mask that fills an event {tuple(event_shape)}", repr(mask)) from None
    whole = first.expand(event_shape)
    if not is_field:
        return Gather(whole)
    channels = whole.flatten(1)
    if (channels == channels[:, :1]).all():
        return ChannelHalves(event_shape, channels[:, 0].nonzero()[:, 0].tolist())
    return Masked(rule, event_shape) if isinstance(mask, str) else Masked(whole)
