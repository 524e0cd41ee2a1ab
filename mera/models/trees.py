"""Tree tensor networks and the ternary MERA, whose steps keep one site of each patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.flow_options import Edges
from mera._utils.options import Option, count
from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.options import StepModel
from mera.models.patches import Patches


@register("tree")
@dataclass(frozen=True, kw_only=True)
class Tree(StepModel):
    """Tree tensor network: decimators on m-wide patches, without disentanglers.

    Shi, Duan & Vidal (2006), https://arxiv.org/abs/quant-ph/0511070. Each step keeps one site of a patch, and the other
    sites leave as latents. Neighbouring sites in different patches meet in one decimator only at the step where their
    branches join.
    """

    L: Annotated[
        Edges,
        Option(
            "edge of the lattice, or all its edges. Repeated division by m must take the smallest edge to m, and every "
            "other edge to a multiple of m."
        ),
    ] = 32
    m: Annotated[
        int, Option("kernel size of the decimators; a step divides the edges of the lattice by m.", count(2))
    ] = 2

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        return Patches(self, self.m, stride=self.m).renormalize([("decimator", 0)])


@register("ternary")
@dataclass(frozen=True, kw_only=True)
class Ternary(StepModel):
    """Ternary MERA: disentanglers and decimators on patches that are 3 sites wide.

    Evenbly & Vidal (2009), https://arxiv.org/abs/0707.1454. Each step divides the edges of the lattice by 3.
    Disentanglers are offset by one site, so that they act across the borders between decimators.
    """

    L: Annotated[Edges, Option("edge of the lattice, or all its edges: 3, 9, 27, ...")] = 27

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        return Patches(self, 3, stride=3).renormalize([("disentangler", 1), ("decimator", 0)])
