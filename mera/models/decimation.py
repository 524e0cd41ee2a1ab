"""A flow that generates each lattice from one site of each of its cells, as in decimation of lattice theories."""

from __future__ import annotations

from dataclasses import dataclass

from mera.bijectors import named
from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.fields import Fields
from mera.models.options import (
    Channels,
    FieldBoundary,
    FieldModel,
    Layers,
    Norm,
    TopWidth,
    Transform,
    WidthsOfChannels,
)


@register("decimation")
@dataclass(frozen=True, kw_only=True)
class Decimation(FieldModel):
    r"""Decimation: the sites of a lattice given one site of each cell, level by level, for lattice field theories.

    .. math:: q(\phi) = q(\phi_H) \prod_{h < H} q(\text{other sites of } \phi_h \mid \phi_{h+1})

    The lattice :math:`\phi_{h+1}` is :math:`\phi_h` at the first corner of each cell, unchanged. The other white sites
    of a checkerboard follow given the first corners, by a coupling; then the black sites given all white ones, by a
    map of each site. If neighbours alone interact, as in phi^4, black sites are independent of each other given the
    white ones. On coarser lattices they are not, since the sites that are left out couple them; before the two steps
    (in the direction of generation), `layers` couplings of all new sites therefore act. RiGCS generates Ising spins
    in this order (arXiv 2503.08918). In one dimension all new sites are black. The topmost lattice has splines of
    patches, whatever `transform` is. Cones are those of convolutions.
    """

    m: TopWidth = 2
    channels: Channels = 1
    layers: Layers = 1
    hidden: WidthsOfChannels = (32,)
    transform: Transform = "spline(max_log_scale=1)"
    boundary: FieldBoundary = "periodic"
    norm: Norm = True

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        fields = Fields(self, norm=self.norm)
        x = fields.layout.input
        for scale, blocks in fields:
            if scale + 1 < fields.scales:
                x = fields.layout.squeeze(x, name=f"squeeze{scale}")
                x = fields.add(x, "corners", f"details{scale}", blocks, self.channels)
                x = fields.split(x, self.channels, scale)
        top = named("coupling", {"transform": "spline", "hidden": blocks["hidden"], "norm": self.norm})
        for role, offset in (("disentangler", self.m // 2), ("decimator", 0)):
            if (
                not offset or all(x.lattice.periodic) or min(x.shape) > self.m
            ):  # between open borders no patch has an offset
                x = fields.layout.local(x, top, kernel=self.m, offset=offset, name=f"{role}{scale}")
        return fields.flow(x)
