"""Glow (Kingma & Dhariwal 2018, arXiv 1807.03039)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.flow_options import PerStep
from mera._utils.options import Option
from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.fields import Fields
from mera.models.options import FieldModel


@register("glow")
@dataclass(frozen=True, kw_only=True)
class Glow(FieldModel):
    """Glow: a multiscale flow of ActNorms, 1 x 1 convolutions and channel couplings.

    Kingma & Dhariwal (2018), https://arxiv.org/abs/1807.03039. At each scale the lattice is squeezed, `layers` steps of
    an ActNorm, a 1 x 1 convolution and a channel coupling act, and half of the channels leave as latents. All channels
    of the topmost lattice, which is m wide, leave. A lattice with L = m is not squeezed, and needs at least two
    channels.
    """

    layers: Annotated[
        PerStep, Option("number of steps of flow at a scale: ActNorm, 1 x 1 convolution, coupling.").per_step()
    ] = 4

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        fields = Fields(self, squeezed_first=True)
        x = fields.layout.input
        for scale, blocks in fields:
            if min(x.shape) > self.m:
                x = fields.layout.squeeze(x, name=f"squeeze{scale}")
            x = fields.add(x, "glow-steps", f"steps{scale}", blocks)
            if scale + 1 < fields.scales:
                x = fields.split(x, x.channels // 2, scale)
        return fields.flow(x)
