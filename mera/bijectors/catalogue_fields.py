"""Bijectors of whole lattices that layouts, files and the command line can name, with the maps of their couplings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import cast

from mera._utils.checks import MAX_LAYERS, check_count, check_flag
from mera._utils.errors import InputError
from mera._utils.flow_options import (
    ContextShape,
    HiddenChannels,
    Kernel,
    Layers,
    Mask,
    Norm,
    Padding,
    Passive,
    ResidualBlocks,
    Shape,
    Transform,
)
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.base import Bijector
from mera.bijectors.by_name import register
from mera.bijectors.compose import Chain
from mera.bijectors.conditioned import Conditioned
from mera.bijectors.conditioners.residual import ResidualConv
from mera.bijectors.coupling import Coupling, couplings
from mera.bijectors.coupling_parts import TRANSFORMS, halves
from mera.bijectors.elementwise import Conditional
from mera.bijectors.linear import LULinear
from mera.bijectors.partition import ChannelHalves, Masked, even_sites


@register("convolution")
def convolution(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 2, hidden: HiddenChannels = (48,),
    norm: Norm = True, mask: Mask = "checkerboard", padding: Padding = "zeros", kernel: Kernel = 3,
    transform: Transform = "affine", context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Couplings of a whole lattice, conditioned by convolutions (Real NVP)."""
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    return couplings(
        halves(event_shape, mask, is_field=True), network, TRANSFORMS.make(transform), layers=layers, norm=norm,
        norm_per_channel=True, context_shape=context_shape,
    )  # fmt: skip


@register("details")
def details(
    event_shape: Shape, *, passive: Passive, layers: Layers = 2, residual_blocks: ResidualBlocks = 1,
    hidden: HiddenChannels = (48,), norm: Norm = True, mask: Mask = "checkerboard", padding: Padding = "zeros",
    kernel: Kernel = 3, transform: Transform = "affine",
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels, which condition "convolution" couplings of the other channels; see `Conditioned`."""

    def make(shape: Shape, context: Shape | None) -> Bijector:
        return convolution(
            shape, layers=layers, residual_blocks=residual_blocks, hidden=hidden, norm=norm, mask=mask,
            padding=padding, kernel=kernel, transform=transform, context_shape=context,
        )  # fmt: skip

    return Conditioned(event_shape, passive, make, context_shape)


@register("split-prior")
def split_prior(
    event_shape: Shape, *, passive: Passive, residual_blocks: ResidualBlocks = 0, hidden: HiddenChannels = (48,),
    padding: Padding = "zeros", kernel: Kernel = 3, transform: Transform = "affine", context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels; map each variable of the others, given the kept ones: the learnt prior of Glow's splits.

    With the affine map and a Gaussian prior of the latents, the other channels have a mean and a scale that depend on
    the kept channels (Kingma and Dhariwal 2018, https://arxiv.org/abs/1807.03039, Fig. 2b).
    """
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)

    def map_each(shape: Shape, context: Shape | None) -> Bijector:
        return Conditional(shape, network, cast(Shape, context), TRANSFORMS.make(transform))

    return Conditioned(event_shape, passive, map_each, context_shape)


@register("corners")
def corners(
    event_shape: Shape, *, layers: Layers = 1, residual_blocks: ResidualBlocks = 1, hidden: HiddenChannels = (32,),
    norm: Norm = True, padding: Padding = "zeros", kernel: Kernel = 3, transform: Transform = "spline(max_log_scale=1)",
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first corner of each cell, the first channels; draw the other white corners, then the black corners.

    The channels are those of `layout.squeeze` with stride 2: one corner of a cell after another, with the last
    coordinate running fastest. A corner is white if its coordinates have an even sum. In generation `layers` couplings
    of all new corners come first, then a coupling of the white corners given the first, then a map of each black corner
    given all white ones: where neighbours alone interact, black corners are independent of each other given the others.
    """
    width, rest = divmod(event_shape[0], 2 ** len(event_shape[1:]))
    if rest or len(event_shape) < 2:
        raise InputError("the corners of cells as channels", f"event shape {event_shape}")
    is_white = [(c // width).bit_count() % 2 == 0 for c in range(event_shape[0])]
    white, black = ([c for c, value in enumerate(is_white) if value == wanted] for wanted in (True, False))
    univariate = TRANSFORMS.make(transform)
    if univariate.of_angles:
        raise InputError("a transform of real numbers, as the networks read no angles", repr(transform))
    network = partial(ResidualConv, hidden=tuple(hidden), padding=padding, kernel=kernel)

    def map_each(shape: Shape, context: Shape) -> Bijector:
        last = Conditional(shape, partial(network, blocks=max(residual_blocks - 1, 0)), context, univariate)
        return Chain([ActNorm(shape, per_channel=True), last]) if check_flag(norm, "norm") else last

    def couple(first: Sequence[int], layers: int, shape: Shape, context: Shape) -> Bijector:
        if math.prod(shape) == 1:  # nothing to couple
            return map_each(shape, context)
        partition = ChannelHalves(shape, first) if first else Masked(even_sites, shape)
        conditioner = partial(network, blocks=residual_blocks)
        return couplings(
            partition, conditioner, univariate, layers=layers, norm=norm, norm_per_channel=True, context_shape=context
        )

    couple_all = partial(couple, [c - width for c in white[width:]], layers)
    steps = [Conditioned(event_shape, white, map_each, context_shape, black)]
    if white[width:]:  # in one dimension only the first corner is white
        steps.append(Conditioned(event_shape, width, partial(couple, [], 1), context_shape, white[width:]))
    return Chain([*steps, Conditioned(event_shape, width, couple_all, context_shape)])


@register("glow-steps")
def glow_steps(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 1, hidden: HiddenChannels = (48,),
    padding: Padding = "zeros", kernel: Kernel = 3, transform: Transform = "affine",
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Steps of `Glow <https://arxiv.org/abs/1807.03039>`_ (Fig. 2a): ActNorm, 1 x 1 convolution, channel coupling."""
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    channels, univariate = ChannelHalves(event_shape), TRANSFORMS.make(transform)
    return Chain(
        member
        for _ in range(check_count(layers, "layers", most=MAX_LAYERS))
        for member in (
            ActNorm(event_shape, per_channel=True),
            LULinear(event_shape),
            Coupling(channels, network, univariate, context_shape=context_shape),
        )
    )
