"""Tensor networks on patches: NeuralRG, trees, the ternary MERA, brick walls and the branching MERA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.flow_options import Edges
from mera._utils.options import Option, count
from mera.flow.flow import Flow
from mera.graph import Port
from mera.models.by_name import register
from mera.models.options import Channels, EvenKernel, PatchModel, StepModel, Widths
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


@register("branching")
@dataclass(frozen=True, kw_only=True)
class BranchingMERA(StepModel):
    """Branching MERA: the sites that a step decimates go through further RG steps too.

    Evenbly & Vidal (2014), https://arxiv.org/abs/1210.1895. Each step divides the lattice into two branches of half the
    edge: the sites that RG-Flow keeps, and the sites that RG-Flow decimates, as channels. Variables leave as latents
    when the lattice of their branch is m wide. The name of a node ends in its step and the path to it, "+" for a branch
    of kept sites and "-" for a branch of decimated sites. The number of branches doubles with each step. Each branch
    has its own bijectors.
    """

    m: EvenKernel = 4
    hidden: Widths = (64,)

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        patches = Patches(self, self.m)
        steps = len(patches.bijectors)

        def grow(x: Port, path: str) -> None:
            """Add the RG steps of the branch that starts at port `x`."""
            step = len(path)
            x = patches.add_rows(x, step, [("disentangler", self.m // 2), ("decimator", 0)], f"{step}{path}")
            if step + 1 == steps:
                patches.layout.latent(x, name=f"z{path}")
                return
            for port, sign in zip(patches.decimate(x, step, f"{step}{path}"), "+-", strict=True):
                grow(port, path + sign)

        grow(patches.layout.input, "")
        return patches.flow()
