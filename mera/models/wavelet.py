"""Wavelet Flow (Yu et al. 2020, arXiv 2010.13821)."""

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

__all__ = ["wavelet"]


@register("wavelet")
def wavelet(
    L: LatticeEdges = 32,
    m: TopWidth = 4,
    channels: Channels = 3,
    *,
    layers: FieldLayers = 2,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenChannels = (48,),
    norm: FieldNorm = True,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "gaussian",
    boundary: FieldBoundary = "open",
    dim: Dimensions = 2,
) -> Flow:
    """Wavelet Flow: a Haar pyramid in which couplings transform the details given the means.

    Yu et al. (2020), https://arxiv.org/abs/2010.13821. At each level a Haar transform makes means and details, and
    couplings conditioned on the means transform the details, which leave as latents. The means go on to the next level
    unchanged, up to a lattice that is m wide, which has couplings of its own. A level therefore generates from the
    image at half the edge (times 2 in two dimensions), and each level could be trained by itself.

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
        if h + 1 == steps:
            x = add_field(layout, x, named("convolution", options), f"top{h}")
            break
        means = x.channels
        x = layout.local(x, "haar", kernel=2, name=f"haar{h}")
        x = layout.squeeze(x, name=f"squeeze{h}")
        x = add_field(layout, x, named("details", {"passive": means, **options}), f"details{h}", passive=means)
        x, out = layout.split(x, keep=means, name=f"split{h}")
        layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{steps - 1}")
    return Flow(layout, prior, classes=classes)
