"""A brick wall of blocks without decimation, as in TEBD (Vidal 2003, arXiv quant-ph/0301063)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.flow_options import Edges
from mera._utils.options import Option, count
from mera.flow.flow import Flow
from mera.models.by_name import register
from mera.models.options import EvenKernel, PatchModel
from mera.models.patches import Patches


@register("tebd")
@dataclass(frozen=True, kw_only=True)
class TEBD(PatchModel):
    """Brick wall: rows of blocks without decimation, as in time-evolving block decimation (TEBD).

    Vidal (2003), https://arxiv.org/abs/quant-ph/0301063. Rows of m-wide blocks alternate between offset 0 and offset
    m/2, and all variables leave as one level of latents. The cone of a site grows by m with each pair of rows. An RG
    step is here a pair of rows: `layers`, `residual_blocks` and `hidden` take one value for all pairs of rows, or one
    for each.
    """

    L: Annotated[Edges, Option("edge of the lattice, or all its edges, multiples of m.")] = 32
    m: EvenKernel = 4
    depth: Annotated[int, Option("number of pairs of rows of blocks.", count())] = 4

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        patches = Patches(self, self.m, steps=self.depth)
        x = patches.layout.input
        for step in range(self.depth):
            x = patches.add_rows(x, step, [("even", 0), ("odd", self.m // 2)], str(step))
        patches.layout.latent(x, name="z0")
        return patches.flow()
