"""Bijectors that layouts, files and the command line can name, and the named parts of couplings.

`@mera.bijectors.register_transform("name")` adds a transform of single variables: "coupling(transform='name')".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from mera._utils import flow_options as opt
from mera._utils.checks import MAX_LAYERS, check_choice, check_count, check_flag
from mera._utils.errors import InputError
from mera._utils.flow_options import Shape
from mera._utils.registry import Registry
from mera.bijectors.base import Bijector
from mera.bijectors.by_name import register
from mera.bijectors.circular import CircularSpline
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.published import PatchMLPs, SeparateMLPs
from mera.bijectors.conditioners.residual import ResidualConv, ResidualMLP
from mera.bijectors.coupling import Coupling, couplings
from mera.bijectors.elementwise import Conditional, Conditioned, Elementwise
from mera.bijectors.frames import frame
from mera.bijectors.learnt_noise import LearntNoise
from mera.bijectors.linear import DCT, LULinear
from mera.bijectors.normalization import ActNorm, BlockSpins, Spectral
from mera.bijectors.partition import ChannelHalves, Gather, Masked, Partition, checkerboard
from mera.bijectors.peaks import VonMises
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.turns import corner_order, raster_order, turns
from mera.bijectors.univariate import Affine, Composition, Univariate

TRANSFORMS: Registry[Callable[..., Univariate]] = Registry("a transform")
"""From options to the monotone map of a coupling."""
CONDITIONERS: dict[str, Callable[..., nn.Module]] = {"joint": ResidualMLP, "paper": SeparateMLPs, "authors": PatchMLPs}
"""Networks of patches, with the options `hidden` and `blocks`."""

register_transform = TRANSFORMS.register

register_transform("von-mises")(VonMises)


@register_transform("circular-spline")
def circular_spline(bins: int = 8, peak: str = "none") -> Univariate:
    """A `CircularSpline`; with the peak "von-mises" followed by a map from a narrow peak to a uniform density."""
    is_peaked = check_choice(peak, ("none", "von-mises"), "a peak") == "von-mises"
    return Composition(CircularSpline(bins), VonMises()) if is_peaked else CircularSpline(bins)


@register_transform("affine")
def affine(max_log_scale: float = 1.0) -> Univariate:
    """An `Affine` map."""
    return Affine(max_log_scale)


@register_transform("spline")
def spline(bins: int = 8, bound: float = 4.0, max_log_scale: float = 2.0) -> Univariate:
    """A `RationalQuadratic` spline behind a learnt scale and shift, an `Affine` map that moves its bins to the data."""
    return Composition(Affine(max_log_scale), RationalQuadratic(bins, bound))


def halves(event_shape: Shape, mask: str, is_field: bool = False) -> Partition:
    """The halves of an event by the option `mask`: two vectors of a patch, or two tensors with sites of a lattice."""
    if check_choice(mask, ("checkerboard", "channels"), "a mask") == "checkerboard":
        return Masked(event_shape) if is_field else Gather(checkerboard(event_shape))
    if is_field:
        return ChannelHalves(event_shape)
    first = torch.arange(event_shape[0]) < (event_shape[0] + 1) // 2
    return Gather(first.view(-1, *[1] * len(event_shape[1:])).expand(event_shape))


# Bijectors of patches


@register("coupling")
def coupling(
    event_shape: Shape, *, layers: opt.Layers = 2, residual_blocks: opt.ResidualBlocks = 1,
    hidden: opt.HiddenWidths = (128,), norm: opt.OptionalNorm = None, mix_channels: opt.Mix = None,
    conditioner: opt.Conditioners = "joint", mask: opt.Mask = "checkerboard", transform: opt.Transform = "affine",
    context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Couplings of a patch, as in `Real NVP <https://arxiv.org/abs/1605.08803>`_ and RG-Flow (App. A)."""
    univariate: Univariate = TRANSFORMS.make(transform)
    kind = CONDITIONERS[check_choice(conditioner, CONDITIONERS, "a conditioner")]
    network = partial(kind, hidden=hidden, blocks=residual_blocks)
    usual = conditioner == "joint" and not univariate.of_angles
    return couplings(
        halves(event_shape, mask), network, univariate, layers=layers, norm=usual if norm is None else norm,
        mix=usual if mix_channels is None else mix_channels, context_shape=context_shape,
    )  # fmt: skip


@register("pointwise-spline")
def pointwise_spline(event_shape: Shape, *, bins: opt.Bins = 8, bound: opt.Bound = 4.0) -> Bijector:
    """A learnt scale, shift and spline for each single variable; see `Elementwise` and `RationalQuadratic`."""
    return Elementwise(event_shape, spline(bins, bound))


for name, kind in {
    "actnorm": ActNorm, "block-spins": BlockSpins, "dct": DCT, "learnt-noise": LearntNoise, "linear": LULinear,
    "spectral": Spectral,
}.items():  # fmt: skip
    register(name)(kind)


# Bijectors of whole lattices


@register("convolution")
def convolution(
    event_shape: Shape, *, layers: opt.Layers = 2, residual_blocks: opt.ResidualBlocks = 2,
    hidden: opt.HiddenChannels = (48,), norm: opt.Norm = True, mask: opt.Mask = "checkerboard",
    padding: opt.Padding = "zeros", kernel: opt.Kernel = 3, transform: opt.Transform = "affine",
    context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Couplings of a whole lattice, conditioned by convolutions (Real NVP)."""
    network = partial(ResidualConv, hidden=hidden, blocks=residual_blocks, kernel=kernel, padding=padding)
    return couplings(
        halves(event_shape, mask, is_field=True), network, TRANSFORMS.make(transform), layers=layers, norm=norm,
        norm_per_channel=True, context_shape=context_shape,
    )  # fmt: skip


@register("details")
def details(
    event_shape: Shape, *, passive: opt.Passive, layers: opt.Layers = 2, residual_blocks: opt.ResidualBlocks = 1,
    hidden: opt.HiddenChannels = (48,), norm: opt.Norm = True, mask: opt.Mask = "checkerboard",
    padding: opt.Padding = "zeros", kernel: opt.Kernel = 3, transform: opt.Transform = "affine",
    context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels, which condition "convolution" couplings of the other channels; see `Conditioned`."""
    make = partial(
        convolution, layers=layers, residual_blocks=residual_blocks, hidden=hidden, norm=norm, mask=mask,
        padding=padding, kernel=kernel, transform=transform,
    )  # fmt: skip
    return Conditioned(event_shape, passive, make, context_shape)


@register("split-prior")
def split_prior(
    event_shape: Shape, *, passive: opt.Passive, residual_blocks: opt.ResidualBlocks = 0,
    hidden: opt.HiddenChannels = (48,), padding: opt.Padding = "zeros", kernel: opt.Kernel = 3,
    transform: opt.Transform = "affine", context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels; map each variable of the others, given the kept ones: the learnt prior of Glow's splits.

    With the affine map and a Gaussian prior of the latents, the other channels have a mean and a scale that depend on
    the kept channels (Kingma and Dhariwal 2018, https://arxiv.org/abs/1807.03039, Fig. 2b).
    """
    network = partial(ResidualConv, hidden=hidden, blocks=residual_blocks, kernel=kernel, padding=padding)
    make = partial(Conditional, conditioner=network, transform=TRANSFORMS.make(transform))
    return Conditioned(event_shape, passive, make, context_shape)


@register("corners")
def corners(
    event_shape: Shape, *, layers: opt.Layers = 1, residual_blocks: opt.ResidualBlocks = 1,
    hidden: opt.HiddenChannels = (32,), norm: opt.Norm = True, padding: opt.Padding = "zeros", kernel: opt.Kernel = 3,
    transform: opt.Transform = "spline(max_log_scale=1)", context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first corner of each cell, the first channels; draw the other white corners, then the black corners.

    The channels are those of `layout.squeeze` with stride 2: one corner of a cell after another, with the last
    coordinate running fastest. A corner is white if its coordinates have an even sum. In generation `layers` couplings
    of all new corners come first, then a coupling of the white corners given the first, then a map of each black corner
    given all white ones: where neighbours alone interact, black corners are independent of each other given the others.
    """
    width, remainder = divmod(event_shape[0], 2 ** len(event_shape[1:]))
    if remainder or len(event_shape) < 2:
        raise InputError("the corners of cells as channels", f"event shape {event_shape}")
    is_white = [(c // width).bit_count() % 2 == 0 for c in range(event_shape[0])]
    white, black = ([c for c, value in enumerate(is_white) if value == colour] for colour in (True, False))
    univariate = TRANSFORMS.make(transform)
    if univariate.of_angles:
        raise InputError("a transform of real numbers, as the networks read no angles", repr(transform))
    network = partial(ResidualConv, hidden=hidden, padding=padding, kernel=kernel)

    def map_each(shape: Shape, context_shape: Shape) -> Bijector:
        last = Conditional(shape, partial(network, blocks=max(residual_blocks - 1, 0)), context_shape, univariate)
        return Chain([ActNorm(shape, per_channel=True), last]) if check_flag(norm, "norm") else last

    def couple(shape: Shape, context_shape: Shape, first: Sequence[int], layers: int) -> Bijector:
        if math.prod(shape) == 1:  # nothing to couple
            return map_each(shape, context_shape)
        return couplings(
            ChannelHalves(shape, first) if first else Masked(shape),
            partial(network, blocks=residual_blocks), univariate,
            layers=layers, norm=norm, norm_per_channel=True, context_shape=context_shape,
        )  # fmt: skip

    couple_all = partial(couple, first=[c - width for c in white[width:]], layers=layers)
    steps = [Conditioned(event_shape, white, map_each, context_shape, black)]
    if white[width:]:  # in one dimension only the first corner is white
        couple_white = partial(couple, first=[], layers=1)
        steps.append(Conditioned(event_shape, width, couple_white, context_shape, white[width:]))
    return Chain([*steps, Conditioned(event_shape, width, couple_all, context_shape)])


@register("frames")
def frames(
    event_shape: Shape, *, window: opt.Window = 3, together: opt.Together = False,
    residual_blocks: opt.ResidualBlocks = 1, hidden: opt.HiddenWidths = (64,), padding: opt.Padding = "zeros",
    transform: opt.Transform = "spline(max_log_scale=1)", context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first corner of each cell; draw the others in turns, relative to the direction of sites drawn before.

    The channels are those of "corners". A site has one angle; or the channels of a site, real numbers, are a vector.
    See `Turn`, `AngleFrame` and `VectorFrame`.
    """
    univariate, dim = TRANSFORMS.make(transform), len(event_shape) - 1
    width, remainder = divmod(event_shape[0], 2**dim)
    if remainder or not dim:
        raise InputError("the corners of cells as channels", f"event shape {event_shape}")
    periods = [min(2, n) for n in event_shape[1:]]  # neighbouring cells are drawn one after the other
    order = corner_order(periods, together)
    make = partial(frame, transform=univariate, channels=width, hidden=hidden, blocks=residual_blocks)
    return turns(event_shape, order, window, make, padding == "circular", context_shape)


@register("frames-by-site")
def frames_by_site(
    event_shape: Shape, *, residual_blocks: opt.ResidualBlocks = 1, hidden: opt.HiddenWidths = (64,),
    padding: opt.Padding = "zeros", transform: opt.Transform = "spline(max_log_scale=1)",
    context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Draw the sites of a small lattice one by one, relative to the direction of the sites drawn before; see "frames".

    The first angle stays as it is, and the direction of the first vector.
    """
    univariate, width = TRANSFORMS.make(transform), event_shape[0]
    order = raster_order(event_shape[1:])
    make = partial(frame, transform=univariate, channels=width, hidden=hidden, blocks=residual_blocks)
    return turns(event_shape, order, None, make, padding == "circular", context_shape)


@register("glow-steps")
def glow_steps(
    event_shape: Shape, *, layers: opt.Layers = 2, residual_blocks: opt.ResidualBlocks = 1,
    hidden: opt.HiddenChannels = (48,), padding: opt.Padding = "zeros", kernel: opt.Kernel = 3,
    transform: opt.Transform = "affine", context_shape: opt.ContextShape = None,
) -> Bijector:  # fmt: skip
    """Steps of `Glow <https://arxiv.org/abs/1807.03039>`_ (Fig. 2a): ActNorm, 1 x 1 convolution, channel coupling."""
    network = partial(ResidualConv, hidden=hidden, blocks=residual_blocks, kernel=kernel, padding=padding)
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
