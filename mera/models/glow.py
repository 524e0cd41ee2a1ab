"""Glow (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from typing import Annotated

from typing_extensions import Unpack

from mera.flow import Flow
from mera.models.by_name import register
from mera.models.fields import Fields
from mera.names.flow_options import Channels, FieldOptions, LatticeEdges, PerStep, TopWidth
from mera.names.options import Option


@register("glow")
def glow(
    L: LatticeEdges = 32,
    m: TopWidth = 4,
    channels: Channels = 3,
    *,
    layers: Annotated[
        PerStep, Option("number of steps of flow at a scale: ActNorm, 1 x 1 convolution, coupling.").per_step()
    ] = 4,
    **options: Unpack[FieldOptions],
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
    fields = Fields(L, m, channels, layers, options, squeezed_first=True)
    x = fields.layout.input
    for scale, blocks in fields:
        if min(x.shape) > m:
            x = fields.layout.squeeze(x, name=f"squeeze{scale}")
        x = fields.add(x, "glow-steps", f"steps{scale}", blocks)
        if scale + 1 < fields.scales:
            x = fields.split(x, x.channels // 2, scale)
    return fields.flow(x)
