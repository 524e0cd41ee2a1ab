"""Multiscale Real NVP (Dinh et al. 2017, arXiv 1605.08803)."""

from __future__ import annotations

from mera._utils.checks import check_flag
from mera.bijectors import named
from mera.flow import Flow
from mera.graph import Layout
from mera.models.fields import add_field, padding, width
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape, levels, options_per_step
from mera.models.registry import register
from mera.priors import PriorLike

__all__ = ["realnvp"]


@register("realnvp")
def realnvp(
    L: Edges = 32,
    m: int = 4,
    channels: int = 3,
    *,
    layers: PerStep = 2,
    residual_blocks: PerStep = 2,
    hidden: Hidden = (48,),
    norm: bool = True,
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "gaussian",
    boundary: str = "open",
    dim: int = 2,
) -> Flow:
    """Real NVP with a latent space at each scale, for comparison: its couplings see far, its cones are wide.

    At each scale: checkerboard couplings, squeeze, channel couplings, half of the channels factored out. The
    topmost, m wide, has checkerboard couplings only and sends everything out. Conditioners are residual networks
    of convolutions.

    Args:
        L, m, channels, context, classes, prior, dim: as for `rgflow`.
        layers: coupling layers of each kind at a scale; one layer updates both halves once.
        residual_blocks: residual blocks in a conditioner.
        hidden: channels of the hidden layers in one residual block.
        norm: an ActNorm before each coupling layer, where Dinh et al. have batch normalisation.
        boundary: "open": convolutions pad with zeros, as theirs do. "periodic": they wrap around.

    `layers`, `residual_blocks` and `hidden` take one value for all scales or one for each, finest first.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    steps = levels(shape, width(m))
    common = {"norm": check_flag(norm, "norm"), "padding": padding(boundary)}
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.input
    for h, options in enumerate(options_per_step(steps, layers, residual_blocks, hidden)):
        own = common | options
        x = add_field(layout, x, named("convolution", {"mask": "checkerboard", **own}), f"checkerboard{h}")
        if h + 1 < steps:
            x = layout.squeeze(x, name=f"squeeze{h}")
            x = add_field(layout, x, named("convolution", {"mask": "channels", **own}), f"channels{h}")
            x, out = layout.split(x, keep=x.channels // 2, name=f"split{h}")
            layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{steps - 1}")
    return Flow(layout, prior, classes=classes)
