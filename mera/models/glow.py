"""Glow (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from mera.bijectors import named
from mera.flow import Flow
from mera.graph import Layout
from mera.models.fields import add_field, padding, width
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape, levels, options_per_step
from mera.models.registry import register
from mera.priors import PriorLike

__all__ = ["glow"]


@register("glow")
def glow(
    L: Edges = 32,
    m: int = 4,
    channels: int = 3,
    *,
    layers: PerStep = 4,
    residual_blocks: PerStep = 1,
    hidden: Hidden = (48,),
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "gaussian",
    boundary: str = "open",
    dim: int = 2,
) -> Flow:
    """Glow: squeeze, steps of ActNorm, 1 x 1 convolution and channel coupling, half of the channels out, and again.

    The topmost lattice is m wide, and sends everything out. Where the lattice is m wide already, it is not squeezed,
    and needs at least two channels.

    Args:
        L, m, channels, context, classes, prior, dim: as for `rgflow`.
        layers: steps at a scale.
        residual_blocks: residual blocks of convolutions in a conditioner.
        hidden: channels of the hidden layers in one residual block.
        boundary: "open": convolutions pad with zeros. "periodic": they wrap around.

    `layers`, `residual_blocks` and `hidden` take one value for all scales or one for each, finest first.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    scales = max(1, levels(shape, width(m)) - 1)
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.input
    for h, options in enumerate(options_per_step(scales, layers, residual_blocks, hidden)):
        if min(x.shape) > m:
            x = layout.squeeze(x, name=f"squeeze{h}")
        own = {"padding": padding(boundary), **options}
        x = add_field(layout, x, named("glow", own), f"steps{h}")
        if h + 1 < scales:
            x, out = layout.split(x, keep=x.channels // 2, name=f"split{h}")
            layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{scales - 1}")
    return Flow(layout, prior, classes=classes)
