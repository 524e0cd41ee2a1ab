"""Models of patches by other layouts: NeuralRG, trees, the ternary MERA, brick walls and the branching MERA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from mera._utils.errors import InputError
from mera._utils.flow_options import Edges
from mera._utils.options import Option, count
from mera.graph import Layout, Port
from mera.models.by_name import register
from mera.models.lattices import Kernel, kernels
from mera.models.options import Channels, Layers, PatchModel, PatchWidths, StepModel, Widths
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

    width: ClassVar[int] = 2

    L: Annotated[Edges, Option("edge of the lattice, or all its edges, which are even.")] = 16
    channels: Channels = 1
    hidden: Widths = (64,)
    repeats: Annotated[int, Option("how often blocks at both offsets act at each level.", count())] = 1

    def layout(self) -> Layout:
        """Declare the layout."""
        rows = [
            (f"{role}_{repeat}_", offset)
            for repeat in range(self.repeats)
            for role, offset in (("even", 0.0), ("odd", 0.5))
        ]
        return Patches(self, self.kernels).renormalize(rows)


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
        Option("edge of the lattice, or all its edges, which m divides from level to level as often as it can."),
    ] = 32
    layers: Layers = 1
    hidden: Widths = (152,)
    m: Annotated[
        int | None,
        Option(
            "width of the decimators; a step divides the edges of the lattice by m. If None, the first of 2, 3, 5 and "
            "7 that divides them. A coarsest level that m does not divide is one patch if it is small.",
            count(2),
        ),
    ] = None

    @property
    def stride(self) -> int:  # type: ignore[override]
        """The edge of a cell, the width of the decimators."""
        return self.m or next((m for m in (2, 3, 5, 7) if all(n % m == 0 for n in self.shape)), 2)

    @property
    def kernels(self) -> list[Kernel]:
        """The patch of each level, finest first."""
        return kernels(self.shape, None, self.stride, self.stride, self.levels)

    def fitted(self) -> dict[str, Any]:
        """The width of the decimators, if it was left out."""
        return {"m": self.stride}

    def layout(self) -> Layout:
        """Declare the layout."""
        return Patches(self, self.kernels).renormalize([("decimator", 0)])


@register("ternary")
@dataclass(frozen=True, kw_only=True)
class Ternary(StepModel):
    """Ternary MERA: disentanglers and decimators on patches that are 3 sites wide.

    Evenbly & Vidal (2009), https://arxiv.org/abs/0707.1454. Each step divides the edges of the lattice by 3.
    Disentanglers are offset by one site, so that they act across the borders between decimators.
    """

    width: ClassVar[int] = 3
    stride: ClassVar[int] = 3

    L: Annotated[Edges, Option("edge of the lattice, or all its edges, multiples of 3.")] = 27

    def layout(self) -> Layout:
        """Declare the layout."""
        return Patches(self, self.kernels).renormalize([("disentangler", 0.5), ("decimator", 0)])


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
    m: Annotated[
        int | None,
        Option("width of the blocks. If None, the first of 4, 6 and 2 that divides the edges.", count(2)),
    ] = None
    hidden: Widths = (108,)
    depth: Annotated[int, Option("number of pairs of rows of blocks.", count())] = 2

    def fitted(self) -> dict[str, Any]:
        """The width of the blocks, if it was left out."""
        fitting = [m for m in ((self.m and [self.m]) or (4, 6, 2)) if all(n % m == 0 for n in self.shape)]
        if not fitting:
            raise InputError(f"edges that m={self.m or 2} divides", "x".join(map(str, self.shape)))
        return {"m": fitting[0]}

    def layout(self) -> Layout:
        """Declare the layout."""
        patches = Patches(self, [(self.fitted()["m"],) * len(self.shape)] * self.depth)
        x = patches.layout.input
        for step in range(self.depth):
            x = patches.add_rows(x, step, [("even", 0), ("odd", 0.5)], str(step))
        patches.layout.latent(x, name="z0")
        return patches.layout


@register("branching")
@dataclass(frozen=True, kw_only=True)
class BranchingMERA(StepModel):
    """Branching MERA: the sites that a level decimates go through further levels too.

    Evenbly & Vidal (2014), https://arxiv.org/abs/1210.1895. Each step divides the lattice into two branches of half the
    edge: the sites that RG-Flow keeps, and the sites that RG-Flow decimates, as channels. Variables leave as latents
    at the last step. The name of a node ends in its step and the path to it, "+" for a branch of kept sites and "-" for
    a branch of decimated sites. The number of branches doubles with each step. Each branch has its own bijectors.
    """

    m: PatchWidths = None
    hidden: Widths = (16,)

    def layout(self) -> Layout:
        """Declare the layout."""
        patches = Patches(self, self.kernels)
        steps = len(patches.bijectors)

        def grow(x: Port, path: str) -> None:
            """Add the levels of the branch that starts at port `x`."""
            step = len(path)
            x = patches.add_rows(x, step, [("disentangler", 0.5), ("decimator", 0)], f"{step}{path}")
            if step + 1 == steps:
                patches.layout.latent(x, name=f"z{path}")
                return
            for port, sign in zip(patches.decimate(x, step, f"{step}{path}"), "+-", strict=True):
                grow(port, path + sign)

        grow(patches.layout.input, "")
        return patches.layout
