"""Multiscale Real NVP (Dinh et al. 2017, arXiv 1605.08803)."""

from __future__ import annotations

from functools import partial
from typing import cast

from mera.bijectors import Bijector, ChannelHalves, Masked, ResidualConv, checkerboard
from mera.checks import is_integer, one_of
from mera.flow import Flow
from mera.graph import Layout, Port
from mera.models.blocks import coupling_block
from mera.models.options import Edges, Hidden, PerStep, flag, hidden_per_step, integers_per_step, lattice_shape, levels
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
    prior: PriorLike = "gaussian",
    boundary: str = "open",
    dim: int = 2,
) -> Flow:
    """Real NVP with a latent space at each scale, for comparison: its couplings see far, its cones are wide.

    At each scale: checkerboard couplings, squeeze, channel couplings, half of the channels factored out. The
    topmost, m wide, has checkerboard couplings only and sends everything out. Conditioners are residual networks
    of convolutions.

    Args:
        L, m, channels, prior, dim: as for `rgflow`.
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
    if not is_integer(m) or m < 1:
        raise ValueError(f"Expected a positive width m; got {m!r}")
    steps = levels(shape, m)
    flag(norm, "norm")
    padding = {"open": "zeros", "periodic": "circular"}[one_of(boundary, ["open", "periodic"], "a boundary")]
    layout = Layout(shape, channels, boundary)
    x = layout.input
    options = zip(
        integers_per_step(layers, steps, "layers"),
        integers_per_step(residual_blocks, steps, "residual_blocks"),
        hidden_per_step(hidden, steps),
        strict=True,
    )
    for h, (n_layers, blocks, widths) in enumerate(options):
        networks = partial(ResidualConv, hidden=widths, blocks=blocks, padding=padding)
        block = partial(
            coupling_block, conditioner=networks, layers=n_layers, norm=flag(norm, "norm"), norm_per_channel=True
        )
        shape = x.lattice.event_shape
        x = _field(layout, x, block(Masked(checkerboard(shape))), f"checkerboard{h}")
        if h + 1 < steps:
            x = layout.squeeze(x, name=f"squeeze{h}")
            shape = x.lattice.event_shape
            x = _field(layout, x, block(ChannelHalves(shape)), f"channels{h}")
            x, out = layout.split(x, keep=x.channels // 2, name=f"split{h}")
            layout.latent(out, name=f"z{h}")
    layout.latent(x, name=f"z{steps - 1}")
    return Flow(layout, prior)


def _field(layout: Layout, x: Port, bijector: Bijector, name: str) -> Port:
    """Add couplings of the whole lattice, with the kernel that their convolutions add up to."""
    return layout.local(x, bijector, kernel=cast(tuple, bijector.receptive_kernel), stride=1, name=name)
