"""A brick wall of blocks without decimation, as in TEBD (Vidal 2003, arXiv quant-ph/0301063)."""

from __future__ import annotations

from typing import Annotated

from mera._utils.options import Option, count
from mera.flow import Flow
from mera.graph import Layout
from mera.models.geometry import context_shape, lattice_shape
from mera.models.options import (
    Bijectors,
    Boundary,
    Channels,
    Classes,
    Conditioners,
    Context,
    Dimensions,
    Edges,
    EvenKernel,
    HiddenWidths,
    Layers,
    Norm,
    Priors,
    ResidualBlocks,
)
from mera.models.patches import add_layers, bijectors_per_step
from mera.models.registry import register

__all__ = ["tebd"]


@register("tebd")
def tebd(
    L: Annotated[Edges, Option("edge of the lattice, or all its edges, multiples of m.")] = 32,
    m: EvenKernel = 4,
    channels: Channels = 3,
    *,
    depth: Annotated[int, Option("number of pairs of rows of blocks.", count())] = 4,
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
    """Brick wall: rows of blocks without decimation, as in time-evolving block decimation (TEBD).

    Vidal (2003), https://arxiv.org/abs/quant-ph/0301063. Rows of m-wide blocks alternate between offset 0 and offset
    m/2, and all variables leave as one level of latents. The cone of a site grows by m with each pair of rows. An RG
    step is here a pair of rows: `layers`, `residual_blocks` and `hidden` take one value for all pairs of rows, or one
    for each.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        depth, bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.input
    for row, bijector_of_row in enumerate(bijectors):
        x = add_layers(layout, x, bijector_of_row, [("even", 0), ("odd", m // 2)], m, str(row))
    layout.latent(x, name="z0")
    return Flow(layout, prior, classes=classes)
