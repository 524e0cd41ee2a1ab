"""The branching MERA: no branch is sent out before its lattice is small."""

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
    """A branching MERA (Evenbly & Vidal 2014): what a step decimates is processed on, by RG steps of its own.

    Both branches of a step have half the edge, the second with the channels of all other sites of a cell. Nodes are
    named by their step and the path to them, "+" for what goes on and "-" for what RG-Flow would have sent out. The
    number of branches doubles with each step, and each has bijectors of its own: beyond 7 steps, a warning says so.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
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
        h = len(path)
        x = add_layers(layout, x, bijectors[h], [("disentangler", m // 2), ("decimator", 0)], m, f"{h}{path}")
        if h + 1 == steps:
            layout.latent(x, name=f"z{path}")
            return
        for port, sign in zip(layout.decimate(x, name=f"decimate{h}{path}"), "+-", strict=True):
            grow(port, path + sign)

    grow(layout.input, "")
    return Flow(layout, prior, classes=classes)
