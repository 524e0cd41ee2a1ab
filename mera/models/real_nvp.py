"""Multiscale Real NVP (Dinh et al. 2017, arXiv 1605.08803)."""

from __future__ import annotations

from dataclasses import dataclass

from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.fields import Fields
from mera.models.options import FieldModel, Norm, ResidualBlocks


@register("realnvp")
@dataclass(frozen=True, kw_only=True)
class RealNVP(FieldModel):
    """Real NVP: a multiscale flow of couplings with convolutions, whose cones are wide.

    Dinh et al. (2017), https://arxiv.org/abs/1605.08803. At each scale checkerboard couplings act, the lattice is
    squeezed, channel couplings act, and half of the channels leave as latents. The topmost lattice, which is m wide,
    has checkerboard couplings only, and all of its channels leave. Conditioners are residual networks of convolutions.
    """

    residual_blocks: ResidualBlocks = 2
    norm: Norm = True

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        fields = Fields(self, norm=self.norm)
        x = fields.layout.input
        for scale, blocks in fields:
            x = fields.add(x, "convolution", f"checkerboard{scale}", {"mask": "checkerboard", **blocks})
            if scale + 1 < fields.scales:
                x = fields.layout.squeeze(x, name=f"squeeze{scale}")
                x = fields.add(x, "convolution", f"channels{scale}", {"mask": "channels", **blocks})
                x = fields.split(x, x.channels // 2, scale)
        return fields.flow(x)
