"""Bijectors of whole lattices that layouts, files and the command line can name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from mera._utils.checks import DEEPEST, check_choice, check_count
from mera._utils.errors import InputError
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.base import Bijector
from mera.bijectors.by_name import register
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.residual import ResidualConv
from mera.bijectors.coupling import Coupling
from mera.bijectors.coupling_stack import couplings
from mera.bijectors.elementwise import Elementwise
from mera.bijectors.linear import LULinear
from mera.bijectors.partition import ChannelHalves, Masked, Partition, checkerboard
from mera.bijectors.reshape import Conditioned
from mera.bijectors.transforms_by_name import transform_of
from mera.bijectors.univariate import SmoothLaplace
from mera.names.flow_options import (
    ContextShape,
    HiddenChannels,
    Kernel,
    Layers,
    MaskName,
    MaxLogScale,
    Norm,
    Odd,
    Padding,
    Passive,
    ResidualBlocks,
    Shape,
    Transform,
)
from mera.names.options import Option, flag

SMOOTH = Option("whether a learnt map onto Laplace's density follows, one for each channel.", flag)


def _corners(event_shape: Shape) -> Partition:
    """The corners of a cell other than its first, as channels: those whose coordinates have an even sum, and others."""
    channels, *sites = event_shape
    width, rest = divmod(channels, 2 ** len(sites) - 1)
    if rest or len(sites) < 2:
        raise InputError("the corners of a cell but its first, in 2 or 3 dimensions", f"event shape {event_shape}")
    return ChannelHalves(event_shape, [c for c in range(channels) if (c // width + 1).bit_count() % 2 == 0])


PARTITIONS: dict[str, Callable[[Shape], Partition]] = {
    "checkerboard": lambda event_shape: Masked(checkerboard(event_shape)),
    "channels": ChannelHalves,
    "corners": _corners,
}
"""The halves of an event by the name of a mask."""


@register("convolution")
def convolution(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 2, hidden: HiddenChannels = (48,),
    norm: Norm = True, mask: MaskName = "checkerboard", padding: Padding = "zeros", kernel: Kernel = 3,
    transform: Transform = "affine", max_log_scale: MaxLogScale = 1.0, odd: Odd = False,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Couplings of a whole lattice, conditioned by convolutions (Real NVP)."""
    partition = PARTITIONS[check_choice(mask, PARTITIONS, "a mask")](event_shape)
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    return couplings(
        partition, network, transform_of(transform, max_log_scale), layers=layers, norm=norm, norm_per_channel=True,
        odd=odd, context_shape=context_shape,
    )  # fmt: skip


@register("details")
def details(
    event_shape: Shape, *, passive: Passive, layers: Layers = 2, residual_blocks: ResidualBlocks = 1,
    hidden: HiddenChannels = (48,), norm: Norm = True, mask: MaskName = "checkerboard", padding: Padding = "zeros",
    kernel: Kernel = 3, transform: Transform = "affine", max_log_scale: MaxLogScale = 1.0,
    smooth: Annotated[bool, SMOOTH] = False, context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels, which condition "convolution" couplings of the other channels; see `Conditioned`."""

    def make(shape: Shape, context: Shape | None) -> Bijector:
        transformed = convolution(
            shape, layers=layers, residual_blocks=residual_blocks, hidden=hidden, norm=norm, mask=mask,
            padding=padding, kernel=kernel, transform=transform, max_log_scale=max_log_scale, context_shape=context,
        )  # fmt: skip
        return Chain([transformed, Elementwise(shape, SmoothLaplace(), per_channel=True)]) if smooth else transformed

    return Conditioned(event_shape, passive, make, context_shape)


@register("glow-steps")
def glow_steps(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 1, hidden: HiddenChannels = (48,),
    padding: Padding = "zeros", kernel: Kernel = 3, transform: Transform = "affine", max_log_scale: MaxLogScale = 1.0,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Steps of `Glow <https://arxiv.org/abs/1807.03039>`_ (Fig. 2a): ActNorm, 1 x 1 convolution, channel coupling."""
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    halves, univariate = ChannelHalves(event_shape), transform_of(transform, max_log_scale)
    return Chain(
        member
        for _ in range(check_count(layers, "layers", most=DEEPEST))
        for member in (
            ActNorm(event_shape, per_channel=True),
            LULinear(event_shape),
            Coupling(halves, network, univariate, context_shape=context_shape),
        )
    )
