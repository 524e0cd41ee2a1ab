"""The branching MERA (Evenbly & Vidal 2014, arXiv 1210.1895)."""

from __future__ import annotations

import warnings

from mera.flow import Flow
from mera.graph import Layout, Port
from mera.models.geometry import context_shape, lattice_shape, levels
from mera.models.options import (
    Bijectors,
    Boundary,
    Channels,
    Classes,
    Conditioners,
    Context,
    Dimensions,
    EvenKernel,
    HiddenWidths,
    LatticeEdges,
    Layers,
    Norm,
    Priors,
    ResidualBlocks,
)
from mera.models.patches import add_layers, bijectors_per_step
from mera.models.registry import register

__all__ = ["branching"]

MANY_STEPS = 7
"""Beyond so many RG steps there are hundreds of bijectors: a warning says how many."""


@register("branching")
def branching(
    L: LatticeEdges = 32,
    m: EvenKernel = 4,
    channels: Channels = 3,
    *,
    layers: Layers = 2,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenWidths = (64,),
    conditioner: Conditioners = "joint",
    norm: Norm = None,
    bijector: Bijectors = None,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "laplace",
    boundary: Boundary = "periodic",
    dim: Dimensions = 2,
) -> Flow:
    """Branching MERA: the sites that a step decimates go through further RG steps too.

    Evenbly & Vidal (2014), https://arxiv.org/abs/1210.1895. Each step divides the lattice into two branches of half the
    edge: the sites that RG-Flow would keep, and the sites that it would send out, as channels. Variables leave when the
    lattice of their branch is m wide. The name of a node ends in its step and the path to it, "+" for a branch of kept
    sites and "-" for one of decimated sites. The number of branches doubles with each step,
    and each branch has bijectors of its own: beyond 7 steps, a warning says how many.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    steps = levels(shape, m)
    bijectors = bijectors_per_step(
        steps, bijector=bijector, conditioner=conditioner, layers=layers, residual_blocks=residual_blocks,
        hidden=hidden, norm=norm,
    )  # fmt: skip
    if steps > MANY_STEPS:
        warnings.warn(
            f"a branching MERA of {steps} steps has {2 ** (steps + 1) - 2:,} blocks, each with parameters of its own",
            stacklevel=3,
        )
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))

    def grow(x: Port, path: str) -> None:
        """Add the RG steps of the branch that starts at a port."""
        h = len(path)
        x = add_layers(layout, x, bijectors[h], [("disentangler", m // 2), ("decimator", 0)], m, f"{h}{path}")
        if h + 1 == steps:
            layout.latent(x, name=f"z{path}")
            return
        for port, sign in zip(layout.decimate(x, name=f"decimate{h}{path}"), "+-", strict=True):
            grow(port, path + sign)

    grow(layout.input, "")
    return Flow(layout, prior, classes=classes)
