"""NeuralRG (Li & Wang 2018, arXiv 1802.02840)."""

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

__all__ = ["neuralrg"]


@register("neuralrg")
def neuralrg(
    L: Annotated[Edges, Option("edge of the lattice, or all its edges: powers of two.")] = 16,
    channels: Channels = 1,
    *,
    repeats: Annotated[int, Option("how often blocks at both offsets act at each scale.", count())] = 1,
    layers: Layers = 2,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenWidths = (64,),
    conditioner: Conditioners = "joint",
    norm: Norm = None,
    bijector: Bijectors = None,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "gaussian",
    boundary: Boundary = "periodic",
    dim: Dimensions = 2,
) -> Flow:
    r"""NeuralRG: a MERA of 2-wide blocks, for lattice physics.

    Li & Wang (2018), https://arxiv.org/abs/1802.02840. Scale n consists of the sites whose coordinates are multiples of
    :math:`2^n`. On these sites, blocks act at offset 0 and then at offset :math:`2^n`, `repeats` times; then every
    second site in each dimension is kept for scale n + 1. `mera.Symmetrized` makes such a flow invariant under a global
    spin flip.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, 2), bijector=bijector, conditioner=conditioner, layers=layers, residual_blocks=residual_blocks,
        hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    pairs = [(f"{role}_{repeat}_", offset) for repeat in range(repeats) for role, offset in (("even", 0), ("odd", 1))]
    add_steps(layout, bijectors, pairs, 2, 2)
    return Flow(layout, prior, classes=classes)
