"""A Haar pyramid, whose details follow a flow given the coarser image (Yu et al. 2020, arXiv 2010.13821)."""

from __future__ import annotations

from mera._utils.checks import check_flag
from mera.bijectors import named
from mera.flow import Flow
from mera.graph import Layout
from mera.models.fields import add_field, padding, width
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape, levels, options_per_step
from mera.models.registry import register
from mera.priors import PriorLike

__all__ = ["wavelet"]


@register("wavelet")
def wavelet(
    L: Edges = 32,
    m: int = 4,
    channels: int = 3,
    *,
    layers: PerStep = 2,
    residual_blocks: PerStep = 1,
    hidden: Hidden = (48,),
    norm: bool = True,
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "gaussian",
    boundary: str = "open",
    dim: int = 2,
) -> Flow:
    """Wavelet flow: at each level Haar means and details, and couplings of the details given the means.

    The means go on unchanged, up to a lattice m wide, which has couplings of its own. So what a level generates from
    is the image at half its edge (times 2 in two dimensions), and each level could be trained by itself.

    Args:
        L, m, channels, context, classes, prior, dim: as for `rgflow`.
        layers: coupling layers at a level.
        residual_blocks: residual blocks of convolutions in a conditioner.
        hidden: channels of the hidden layers in one residual block.
        norm: an ActNorm before each coupling layer.
        boundary: "open": convolutions pad with zeros. "periodic": they wrap around.

    `layers`, `residual_blocks` and `hidden` take one value for all levels or one for each, finest first.

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
        if h + 1 == steps:
            x = add_field(layout, x, named("convolution", own), f"top{h}")
            break
        means = x.channels
        x = layout.local(x, "haar", kernel=2, name=f"haar{h}")
        x = layout.squeeze(x, name=f"squeeze{h}")
        x = add_field(layout, x, named("details", {"passive": means, **own}), f"details{h}", passive=means)
        x, out = layout.split(x, keep=means, name=f"split{h}")
        layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{steps - 1}")
    return Flow(layout, prior, classes=classes)
