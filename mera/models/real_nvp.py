"""Multiscale Real NVP (Dinh et al. 2017, arXiv 1605.08803)."""

from __future__ import annotations

from mera.bijectors import named
from mera.flow import Flow
from mera.graph import Layout
from mera.models.fields import add_field
from mera.models.geometry import context_shape, lattice_shape, levels, options_per_step
from mera.models.options import (
    Channels,
    Classes,
    Context,
    Dimensions,
    FieldBoundary,
    FieldLayers,
    FieldNorm,
    HiddenChannels,
    LatticeEdges,
    Priors,
    ResidualBlocks,
    TopWidth,
    padding_of,
)
from mera.models.registry import register

__all__ = ["realnvp"]


@register("realnvp")
def realnvp(
    L: LatticeEdges = 32,
    m: TopWidth = 4,
    channels: Channels = 3,
    *,
    layers: FieldLayers = 2,
    residual_blocks: ResidualBlocks = 2,
    hidden: HiddenChannels = (48,),
    norm: FieldNorm = True,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "gaussian",
    boundary: FieldBoundary = "open",
    dim: Dimensions = 2,
) -> Flow:
    """Real NVP: a multiscale flow of couplings with convolutions, which reach far, so that its cones are wide.

    Dinh et al. (2017), https://arxiv.org/abs/1605.08803. At each scale checkerboard couplings act, the lattice is
    squeezed, channel couplings act, and half of the channels leave as latents. The topmost lattice, which is m wide,
    has checkerboard couplings only, and all of its channels leave. Conditioners are residual networks of convolutions.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    steps = levels(shape, m)
    common = {"norm": norm, "padding": padding_of(boundary)}
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.input
    for h, options in enumerate(options_per_step(steps, layers, residual_blocks, hidden)):
        options = common | options
        x = add_field(layout, x, named("convolution", {"mask": "checkerboard", **options}), f"checkerboard{h}")
        if h + 1 < steps:
            x = layout.squeeze(x, name=f"squeeze{h}")
            x = add_field(layout, x, named("convolution", {"mask": "channels", **options}), f"channels{h}")
            x, out = layout.split(x, keep=x.channels // 2, name=f"split{h}")
            layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{steps - 1}")
    return Flow(layout, prior, classes=classes)
