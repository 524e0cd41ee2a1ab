"""Tree tensor networks and the ternary MERA, which keep one site of each patch."""

from __future__ import annotations

from typing import Annotated

from mera._utils.options import Option, count
from mera.flow import Flow
from mera.graph import Layout
from mera.models.geometry import context_shape, lattice_shape, levels
from mera.models.options import (
    Bijectors,
    Boundary,
    Channels,
    Classes,
    Conditioners,
    Context,
    Dimensions,
    Edges,
    HiddenWidths,
    Layers,
    Norm,
    Priors,
    ResidualBlocks,
)
from mera.models.patches import add_steps, bijectors_per_step
from mera.models.registry import register

__all__ = ["ternary", "tree"]


@register("tree")
def tree(
    L: Annotated[
        Edges,
        Option(
            "edge of the lattice, or all its edges. Dividing by m again and again must take the smallest edge to m, "
            "and each other edge to a multiple of m."
        ),
    ] = 32,
    m: Annotated[
        int,
        Option("kernel size of the decimators; a step divides the edges of the lattice by m.", count(2)),
    ] = 2,
    channels: Channels = 3,
    *,
    layers: Layers = 2,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenWidths = (128,),
    conditioner: Conditioners = "joint",
    norm: Norm = None,
    bijector: Bijectors = None,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "laplace",
    boundary: Boundary = "periodic",
    dim: Dimensions = 2,
) -> Flow:
    """Tree tensor network: decimators on m-wide patches, without disentanglers.

    Shi, Duan & Vidal (2006), https://arxiv.org/abs/quant-ph/0511070. Each step keeps one site of a patch, and the other
    sites leave as latents. Neighbouring sites in different patches meet in one decimator only at the step where their
    branches join.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, m, m), bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    add_steps(layout, bijectors, [("decimator", 0)], m, m)
    return Flow(layout, prior, classes=classes)


@register("ternary")
def ternary(
    L: Annotated[Edges, Option("edge of the lattice, or all its edges: 3, 9, 27, ...")] = 27,
    channels: Channels = 3,
    *,
    layers: Layers = 2,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenWidths = (128,),
    conditioner: Conditioners = "joint",
    norm: Norm = None,
    bijector: Bijectors = None,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "laplace",
    boundary: Boundary = "periodic",
    dim: Dimensions = 2,
) -> Flow:
    """Ternary MERA: disentanglers and decimators on patches that are 3 sites wide.

    Evenbly & Vidal (2009), https://arxiv.org/abs/0707.1454. Each step divides the edges of the lattice by 3.
    Disentanglers are offset by one site, so that they act across the borders between decimators.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, 3, 3), bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    add_steps(layout, bijectors, [("disentangler", 1), ("decimator", 0)], 3, 3)
    return Flow(layout, prior, classes=classes)
