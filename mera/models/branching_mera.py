"""The branching MERA (Evenbly & Vidal 2014, arXiv 1210.1895)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from mera.flow.flow import Flow
from mera.graph import Port
from mera.models.by_name import register
from mera.models.options import EvenKernel, StepModel, Widths
from mera.models.patches import Patches

MANY_STEPS = 7
"""Number of RG steps beyond which a warning gives the number of bijectors, which is then in the hundreds."""


@register("branching")
@dataclass(frozen=True, kw_only=True)
class BranchingMERA(StepModel):
    """Branching MERA: the sites that a step decimates go through further RG steps too.

    Evenbly & Vidal (2014), https://arxiv.org/abs/1210.1895. Each step divides the lattice into two branches of half the
    edge: the sites that RG-Flow keeps, and the sites that RG-Flow decimates, as channels. Variables leave as latents
    when the lattice of their branch is m wide. The name of a node ends in its step and the path to it, "+" for a branch
    of kept sites and "-" for a branch of decimated sites. The number of branches doubles with each step. Each branch
    has its own bijectors; beyond 7 steps, a warning gives their number.
    """

    m: EvenKernel = 4
    hidden: Widths = (64,)

    def flow(self) -> Flow:
        """Build the flow; see `Model.flow`."""
        patches = Patches(self, self.m)
        steps = len(patches.bijectors)
        if steps > MANY_STEPS:
            warnings.warn(
                f"a branching MERA of {steps} steps has {2 ** (steps + 1) - 2:,} blocks with parameters of their own",
                stacklevel=4,
            )

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
