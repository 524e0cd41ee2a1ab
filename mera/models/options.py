"""The options of models, as fields that families of models share: each with its type, help, check and default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from mera._utils.flow_options import (
    HIDDEN,
    HIDDEN_CHANNELS,
    LAYERS,
    PADDING,
    RESIDUAL_BLOCKS,
    BijectorLike,
    Conditioners,
    Edges,
    Hidden,
    Mix,
    Norm,
    OptionalNorm,
    PerStep,
    PriorLike,
    Transform,
    check_even,
)
from mera._utils.options import Option, check_fields, choice, count, flag
from mera.flow.flow import Flow

__all__ = ["FieldModel", "Model", "Norm", "PatchModel", "StepModel", "Transform"]

Layers = Annotated[PerStep, LAYERS.per_step()]
ResidualBlocks = Annotated[PerStep, RESIDUAL_BLOCKS.per_step()]
Widths = Annotated[Hidden, HIDDEN.per_step()]
WidthsOfChannels = Annotated[Hidden, HIDDEN_CHANNELS.per_step()]
Channels = Annotated[int, Option("number of variables at a site.")]
LatticeEdges = Annotated[
    Edges,
    Option(
        "edge of the lattice, or all its edges. Repeated halving must take the smallest edge to m, and every other "
        "edge to a multiple of m."
    ),
]
Dim = Annotated[int, Option("number of dimensions of the lattice, if L is one number.")]
EvenKernel = Annotated[int, Option("kernel size of all blocks, even.", check_even)]
TopWidth = Annotated[
    int, Option("width of the topmost lattice, whose variables all leave as latents.", count(2, "the width m"))
]
LevelCount = Annotated[
    int | None,
    Option(
        "number of levels, for a lattice of any edges that m 2^(levels - 1) divides (for cells of another edge, its "
        "powers). If None, as many as take the smallest edge to m."
    ),
]
PriorOption = Annotated[
    PriorLike,
    Option(
        'prior of the latents: "gaussian", "laplace", or a univariate distribution of torch whose parameters are '
        'numbers, "StudentT(df=5)".'
    ),
]
ContextEdges = Annotated[
    Edges | None,
    Option(
        "shape of the context of a conditional flow: K or (K,) for K numbers per image, (K, *lattice) for K numbers at "
        "each pixel."
    ),
]
Classes = Annotated[
    int | None,
    Option("number of classes of a flow that is conditional on a class; a context is learnt for each class."),
]
Boundary = Annotated[str, Option('borders of the lattice: "periodic" or "open".')]
FieldBoundary = Annotated[
    str,
    Option(
        'borders of the lattice: "open", beyond which convolutions read zeros, or "periodic", where they continue '
        "at the opposite border.",
        choice(PADDING, "a boundary"),
    ),
]
Blocks = Annotated[
    BijectorLike | None,
    Option(
        "bijector of all blocks, in place of couplings: a name of `mera.bijectors.names()`, with or without options, "
        '"maf(layers=5)" or {"name": "maf", "layers": 5}; or a callable that makes a bijector from an event shape. A '
        "named bijector gets each of the options `layers`, `residual_blocks`, `hidden`, `conditioner`, `norm`, "
        "`mix_channels` and `transform` that it has."
    ),
]
BlockSpinsFlag = Annotated[
    bool,
    Option(
        "whether a cosine transform of each cell, for cells of edge 2 the Haar transform, comes before the blocks of "
        "each level but the coarsest, so that the site that a decimation keeps of a cell begins as its block spin, the "
        "mean, times a learnt factor. Levels that share modules have it at the coarsest level too.",
        flag,
    ),
]
Details = Annotated[
    PerStep,
    Option(
        "number of coupling layers with convolutions that act, at each level but the coarsest, on the variables that "
        "are about to leave, given the kept site of each cell and the neighbouring cells; 0 for none. Kept sites do "
        "not change. Causal cones grow by the reach of the convolutions, and restricted evaluation takes all sites of "
        "coarser lattices. The number for the coarsest level is not used."
    ).per_step(),
]
FieldLayers = Annotated[
    PerStep,
    Option(
        "number of coupling layers of each kind at a scale; a layer updates both halves of an event once."
    ).per_step(),
]


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """The options that all models have; a model is a subclass with fields of its own and the method `flow`."""

    L: LatticeEdges = 32
    channels: Channels = 3
    prior: PriorOption = "gaussian"
    context: ContextEdges = None
    classes: Classes = None
    dim: Dim = 2

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def flow(self) -> Flow:
        """Build the flow.

        Raises:
            ValueError: if the value of an option is invalid.
            LayoutError: if the options do not make a bijection.
        """

    @property
    def context_shape(self) -> Edges | None:
        """The shape of the context; 16 if only `classes` are given."""
        return 16 if self.context is None and self.classes is not None else self.context


@dataclass(frozen=True, kw_only=True)
class PatchModel(Model):
    """Options that models of patches share."""

    layers: Layers = 2
    residual_blocks: ResidualBlocks = 1
    hidden: Widths = (128,)
    conditioner: Conditioners = "joint"
    norm: OptionalNorm = None
    mix_channels: Mix = None
    transform: Transform = "affine"
    bijector: Blocks = None
    boundary: Boundary = "periodic"


@dataclass(frozen=True, kw_only=True)
class StepModel(PatchModel):
    """Options that models of patches share whose steps decimate the lattice."""

    levels: LevelCount = None
    block_spins: BlockSpinsFlag = False
    details: Details = 0


@dataclass(frozen=True, kw_only=True)
class FieldModel(Model):
    """Options that models of whole lattices share."""

    m: TopWidth = 4
    layers: FieldLayers = 2
    levels: LevelCount = None
    residual_blocks: ResidualBlocks = 1
    hidden: WidthsOfChannels = (48,)
    transform: Transform = "affine"
    boundary: FieldBoundary = "open"
