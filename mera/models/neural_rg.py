"""NeuralRG (Li & Wang 2018, arXiv 1802.02840)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.flow_options import Edges
from mera._utils.options import Option, count
from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.options import Channels, StepModel, Widths
from mera.models.patches import Patches


@register("neuralrg")
@dataclass(frozen=True, kw_only=True)
class NeuralRG(StepModel):
    r"""NeuralRG: a MERA of 2-wide blocks, for lattice physics.

    Li & Wang (2018), https://arxiv.org/abs/1802.02840. Scale n consists of the sites whose coordinates are multiples of
    :math:`2^n`. On these sites, blocks act at offset 0 and then at offset :math:`2^n`, `repeats` times; then every
    second site in each dimension is kept for scale n + 1. `mera.Symmetrized` makes such a flow invariant under a global
    spin flip.
    """

    L: Annotated[Edges, Option("edge of the lattice, or all its edges: powers of two.")] = 16
    channels: Channels = 1
    hidden: Widths = (64,)
    repeats: Annotated[int, Option("how often blocks at both offsets act at each scale.", count())] = 1

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        rows = [
            (f"{role}_{repeat}_", offset)
            for repeat in range(self.repeats)
            for role, offset in (("even", 0), ("odd", 1))
        ]
        return Patches(self, 2).renormalize(rows)
