"""Glow (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from typing import Annotated

from mera._utils.options import Option
from mera.bijectors import named
from mera.flow import Flow
from mera.graph import Layout
from mera.models.fields import add_field
from mera.models.geometry import context_shape, lattice_shape, levels, options_per_step
from mera.models.options import (
    PER_STEP,
    Channels,
    Classes,
    Context,
    Dimensions,
    FieldBoundary,
    HiddenChannels,
    LatticeEdges,
    PerStep,
    Priors,
    ResidualBlocks,
    TopWidth,
    padding_of,
)
from mera.models.registry import register

__all__ = ["glow"]


@register("glow")
def glow(
    L: LatticeEdges = 32,
    m: TopWidth = 4,
    channels: Channels = 3,
    *,
    layers: Annotated[
        PerStep, Option(f"number of steps of flow at a scale: ActNorm, 1 x 1 convolution, coupling. {PER_STEP}")
    ] = 4,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenChannels = (48,),
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "gaussian",
    boundary: FieldBoundary = "open",
    dim: Dimensions = 2,
) -> Flow:
    """Glow: a multiscale flow of ActNorms, 1 x 1 convolutions and channel couplings.

    Kingma & Dhariwal (2018), https://arxiv.org/abs/1807.03039. At each scale the lattice is squeezed, `layers` steps of
    an ActNorm, a 1 x 1 convolution and a channel coupling act, and half of the channels leave as latents. All channels
    of the topmost lattice, which is m wide, leave. A lattice with L = m is not squeezed, and needs at least two
    channels.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    scales = max(1, levels(shape, m) - 1)
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.input
    for h, options in enumerate(options_per_step(scales, layers, residual_blocks, hidden)):
        if min(x.shape) > m:
            x = layout.squeeze(x, name=f"squeeze{h}")
        steps = named("glow", {"padding": padding_of(boundary), **options})
        x = add_field(layout, x, steps, f"steps{h}")
        if h + 1 < scales:
            x, out = layout.split(x, keep=x.channels // 2, name=f"split{h}")
            layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{scales - 1}")
    return Flow(layout, prior, classes=classes)
