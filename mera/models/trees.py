"""Tree tensor networks and the ternary MERA: one site of a patch goes on."""

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
        Option("edge of the lattice, or all its edges; each edge divides by m to a multiple of m, the smallest to m."),
    ] = 32,
    m: Annotated[
        int,
        Option("kernel size, and factor of decimation.", count(2)),
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
    """A tree tensor network: decimators only, each of which sends one site of its m-wide patch on.

    Without disentanglers, neighbours on two sides of a patch's border meet only where their branches do.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
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
    """A ternary MERA (Evenbly & Vidal 2009): kernel 3, decimation by 3, disentanglers across the decimators' borders.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, 3, 3), bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    add_steps(layout, bijectors, [("disentangler", 1), ("decimator", 0)], 3, 3)
    return Flow(layout, prior, classes=classes)
