"""Bijectors of whole lattices that layouts, files and the command line can name."""

from __future__ import annotations

from functools import partial

from mera._utils.checks import DEEPEST, check_choice, check_count
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.base import Bijector
from mera.bijectors.by_name import register
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.residual import ResidualConv
from mera.bijectors.coupling import Coupling
from mera.bijectors.coupling_stack import couplings
from mera.bijectors.linear import LULinear
from mera.bijectors.partition import ChannelHalves, Masked, checkerboard
from mera.bijectors.reshape import Conditioned
from mera.bijectors.univariate import Affine
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
)


@register("convolution")
def convolution(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 2, hidden: HiddenChannels = (48,),
    norm: Norm = True, mask: MaskName = "checkerboard", padding: Padding = "zeros", kernel: Kernel = 3,
    max_log_scale: MaxLogScale = 1.0, odd: Odd = False, context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Affine couplings of a whole lattice, conditioned by convolutions (Real NVP)."""
    by_sites = check_choice(mask, ("checkerboard", "channels"), "a mask") == "checkerboard"
    partition = Masked(checkerboard(event_shape)) if by_sites else ChannelHalves(event_shape)
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    return couplings(partition, network, Affine(max_log_scale), layers=layers, norm=norm, norm_per_channel=True,
                     odd=odd, context_shape=context_shape)  # fmt: skip


@register("details")
def details(
    event_shape: Shape, *, passive: Passive, layers: Layers = 2, residual_blocks: ResidualBlocks = 1,
    hidden: HiddenChannels = (48,), norm: Norm = True, mask: MaskName = "checkerboard", padding: Padding = "zeros",
    kernel: Kernel = 3, max_log_scale: MaxLogScale = 1.0, context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Keep the first channels, which condition "convolution" couplings of the other channels; see `Conditioned`."""
    make = partial(
        convolution, layers=layers, residual_blocks=residual_blocks, hidden=hidden, norm=norm, mask=mask,
        padding=padding, kernel=kernel, max_log_scale=max_log_scale,
    )  # fmt: skip
    return Conditioned(event_shape, passive, lambda shape, context: make(shape, context_shape=context), context_shape)


@register("glow-steps")
def glow_steps(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 1, hidden: HiddenChannels = (48,),
    padding: Padding = "zeros", kernel: Kernel = 3, max_log_scale: MaxLogScale = 1.0,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Steps of `Glow <https://arxiv.org/abs/1807.03039>`_ (Fig. 2a): ActNorm, 1 x 1 convolution, channel coupling."""
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    halves, transform = ChannelHalves(event_shape), Affine(max_log_scale)
    return Chain(
        member
        for _ in range(check_count(layers, "layers", most=DEEPEST))
        for member in (
            ActNorm(event_shape, per_channel=True),
            LULinear(event_shape),
            Coupling(halves, network, transform, context_shape=context_shape),
        )
    )
