"""Bijectors of whole lattices that layouts, files and the command line can name, with the maps of their couplings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature

from mera._utils.checks import DEEPEST, check_choice, check_count, check_flag
from mera._utils.errors import InputError
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.base import Bijector
from mera.bijectors.by_name import register
from mera.bijectors.compose import Chain
from mera.bijectors.conditional import Conditional
from mera.bijectors.conditioners.residual import ResidualConv
from mera.bijectors.coupling import Coupling
from mera.bijectors.coupling_stack import couplings
from mera.bijectors.linear import LULinear
from mera.bijectors.partition import ChannelHalves, Masked, Partition, checkerboard
from mera.bijectors.reshape import Conditioned
from mera.bijectors.scaled import Scaled
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Additive, Affine, Univariate
from mera.names.calls import parse_call
from mera.names.flow_options import (
    ContextShape,
    HiddenChannels,
    Kernel,
    Layers,
    MaskName,
    MaxLogScale,
    Norm,
    Padding,
    Passive,
    ResidualBlocks,
    Shape,
    Transform,
)

PARTITIONS: dict[str, Callable[[Shape], Partition]] = {
    "checkerboard": lambda event_shape: Masked(checkerboard(event_shape)),
    "channels": ChannelHalves,
}
"""The halves of an event by the name of a mask."""


def spline_transform(max_log_scale: float = 2.0, bins: int = 8, bound: float = 4.0) -> Univariate:
    """A rational-quadratic spline behind a learnt scale and shift."""
    return Scaled(RationalQuadratic(bins, bound), max_log_scale)


TRANSFORMS: dict[str, Callable[..., Univariate]] = {
    "affine": Affine,
    "additive": Additive,
    "spline": spline_transform,
}


def transform_of(text: str, max_log_scale: float) -> Univariate:
    """The monotone map of a coupling, from its name, with or without options.

    Args:
        text: a name of `TRANSFORMS`, with or without options, such as "spline" or "spline(bins=4)".
        max_log_scale: the bound of the log-scale, for the maps that have one.

    Raises:
        ValueError: if the name or an option is unknown, or the value of an option is invalid.

    >>> transform_of("spline(bins=4)", 2.0).n_params
    13
    """
    if not isinstance(text, str):
        raise InputError("the name of a transform", repr(text))
    name, values, options = parse_call(text, "spline(bins=4)")
    make = TRANSFORMS[check_choice(name, TRANSFORMS, "a transform")]
    try:
        call = signature(make).bind(*values, **options)
    except TypeError as error:
        raise InputError(f"options of the transform {name!r}", str(error)) from error
    if "max_log_scale" in call.signature.parameters:
        call.arguments.setdefault("max_log_scale", max_log_scale)
    return make(*call.args, **call.kwargs)


@register("convolution")
def convolution(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 2, hidden: HiddenChannels = (48,),
    norm: Norm = True, mask: MaskName = "checkerboard", padding: Padding = "zeros", kernel: Kernel = 3,
    transform: Transform = "affine", max_log_scale: MaxLogScale = 1.0, context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Couplings of a whole lattice, conditioned by convolutions (Real NVP)."""
    partition = PARTITIONS[check_choice(mask, PARTITIONS, "a mask")](event_shape)
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    return couplings(
        partition, network, transform_of(transform, max_log_scale), layers=layers, norm=norm, norm_per_channel=True,
        context_shape=context_shape,
    )  # fmt: skip


@register("details")
def details(
    event_shape: Shape, *, passive: Passive, layers: Layers = 2, residual_blocks: ResidualBlocks = 1,
    hidden: HiddenChannels = (48,), norm: Norm = True, mask: MaskName = "checkerboard", padding: Padding = "zeros",
    kernel: Kernel = 3, transform: Transform = "affine", max_log_scale: MaxLogScale = 1.0,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels, which condition "convolution" couplings of the other channels; see `Conditioned`."""

    def make(shape: Shape, context: Shape | None) -> Bijector:
        return convolution(
            shape, layers=layers, residual_blocks=residual_blocks, hidden=hidden, norm=norm, mask=mask,
            padding=padding, kernel=kernel, transform=transform, max_log_scale=max_log_scale, context_shape=context,
        )  # fmt: skip

    return Conditioned(event_shape, passive, make, context_shape)


@register("corners")
def corners(
    event_shape: Shape, *, layers: Layers = 1, residual_blocks: ResidualBlocks = 1, hidden: HiddenChannels = (32,),
    norm: Norm = True, padding: Padding = "zeros", kernel: Kernel = 3, transform: Transform = "spline(bins=8)",
    max_log_scale: MaxLogScale = 1.0, context_shape: ContextShape = None,
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
    univariate = transform_of(transform, max_log_scale)
    network = partial(ResidualConv, hidden=tuple(hidden), padding=padding, kernel=kernel)

    def map_each(shape: Shape, context: Shape) -> Bijector:
        last = Conditional(shape, partial(network, blocks=max(residual_blocks - 1, 0)), context, univariate)
        return Chain([ActNorm(shape, per_channel=True), last]) if check_flag(norm, "norm") else last

    def couple(halves: Sequence[int], layers: int, shape: Shape, context: Shape) -> Bijector:
        if math.prod(shape) == 1:  # nothing to couple
            return map_each(shape, context)
        partition = ChannelHalves(shape, halves) if halves else Masked(checkerboard(shape))
        conditioner = partial(network, blocks=residual_blocks)
        return couplings(
            partition, conditioner, univariate, layers=layers, norm=norm, norm_per_channel=True, context_shape=context
        )

    def couple_white(shape: Shape, context: Shape) -> Bijector:
        return couple([], 1, shape, context)

    def couple_all(shape: Shape, context: Shape) -> Bijector:
        return couple([c - width for c in white[width:]], layers, shape, context)

    steps = [Conditioned(event_shape, white, map_each, context_shape, black)]
    if white[width:]:  # in one dimension only the first corner is white
        steps.append(Conditioned(event_shape, width, couple_white, context_shape, white[width:]))
    return Chain([*steps, Conditioned(event_shape, width, couple_all, context_shape)])


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
