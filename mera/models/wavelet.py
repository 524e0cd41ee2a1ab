"""Wavelet Flow (Yu et al. 2020, arXiv 2010.13821)."""

from __future__ import annotations

from dataclasses import dataclass

from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.fields import Fields
from mera.models.options import FieldModel, Norm


@register("wavelet")
@dataclass(frozen=True, kw_only=True)
class WaveletFlow(FieldModel):
    """Wavelet Flow: a Haar pyramid in which couplings transform the details conditioned on the means.

    Yu et al. (2020), https://arxiv.org/abs/2010.13821. At each level a Haar transform makes means and details, and
    couplings conditioned on the means transform the details, which leave as latents. The means go on to the next level
    unchanged. The topmost lattice, which is m wide, has its own couplings. A level therefore generates from the image
    at half the resolution (times 2 in two dimensions), and each level could be trained separately.
    """

    norm: Norm = True

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        fields = Fields(self, norm=self.norm)
        x = fields.layout.input
        for scale, blocks in fields:
            if scale + 1 == fields.scales:
                x = fields.add(x, "convolution", f"top{scale}", blocks)
                break
            means = x.channels
            x = fields.layout.local(x, "dct", kernel=2, name=f"haar{scale}")
            x = fields.layout.squeeze(x, name=f"squeeze{scale}")
            x = fields.add(x, "details", f"details{scale}", {"passive": means, **blocks}, passive=means)
            x = fields.split(x, means, scale)
        return fields.flow(x)
