"""The options of models, as fields that families of models share; and their values for each RG step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from mera._utils.checks import MAX_LAYERS, check_count, is_integer
from mera._utils.errors import InputError
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
    OptionalNorm,
    PerStep,
    PriorLike,
    Transform,
    check_even,
)
from mera._utils.options import Option, check_fields, choice, count, flag
from mera.flow.flow import Flow

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
        'prior of the latents: "gaussian", "laplace", or a distribution of torch, "StudentT(df=5)"; see `mera.Prior`.'
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
        "whether to transform each cell by a cosine transform (Haar for edge 2) before the blocks of each level but "
        "the coarsest. The site that a decimation keeps then starts as the mean of its cell, times a learnt factor. "
        "Levels that share modules have it at the coarsest level too.",
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
DetailsWidths = Annotated[Hidden, Option("channels of the hidden convolutions of the option `details`.").per_step()]
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
    details_hidden: DetailsWidths = (32,)


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


def lattice_shape(L: Edges, dim: int) -> tuple[int, ...]:
    """The shape of a lattice: (L, ..., L) in `dim` dimensions if `L` is one number, else the edges `L`."""
    if not is_integer(dim) or dim not in (1, 2, 3):
        raise InputError("dim 1, 2 or 3", repr(dim))
    edges = tuple(L) if isinstance(L, Sequence) else (L,) * dim
    if not edges or not all(is_integer(n) and n > 0 for n in edges):
        raise InputError("L as a positive integer or all edges of the lattice", repr(L))
    return edges


def levels(shape: Sequence[int], m: int, stride: int = 2, n_levels: int | None = None) -> int:
    """The number of levels of a lattice whose edges are divided by the stride until the smallest edge is m.

    Args:
        shape: the edges of the lattice.
        m: the smallest edge of the topmost lattice.
        stride: the edge of a cell.
        n_levels: the number of levels, if it does not depend on the lattice.
    """
    if n_levels is not None:
        width = m * stride ** (check_count(n_levels, "levels", most=MAX_LAYERS) - 1)
        if any(n % width for n in shape):
            got = "x".join(map(str, shape))
            raise InputError(f"edges that {width} = {m} * {stride}^{n_levels - 1} divides", got)
        return n_levels
    smallest, width, count = min(shape), m, 1
    while width < smallest:
        width, count = width * stride, count + 1
    if width != smallest or any(n % width for n in shape):
        how = "halve" if stride == 2 else f"divide by {stride}"
        expected = f"edges that {how} to the kernel m={m}, so that L = {m} * {stride}^h"
        raise InputError(expected, "x".join(map(str, shape)))
    return count


def integers_per_step(value: PerStep, steps: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One integer for each RG step, finest first, from one for all steps or one for each."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * steps
    if len(values) != steps or not all(is_integer(v) and least <= v <= MAX_LAYERS for v in values):
        expected = f"{what} as one integer from {least} to {MAX_LAYERS:,}, or one for each of {steps} RG steps"
        raise InputError(expected, repr(value))
    return values


def hidden_per_step(value: Hidden, steps: int) -> tuple[tuple[int, ...], ...]:
    """Widths of the hidden layers for each RG step, finest first, from widths for all steps or for each step."""
    if not isinstance(value, Sequence):
        raise InputError("hidden as a tuple of widths", repr(value))
    nested = len(value) > 0 and all(isinstance(widths, Sequence) for widths in value)
    rows: Sequence[Any] = value if nested else (value,) * steps
    values = tuple(tuple(widths) for widths in rows)
    if len(values) != steps or not all(ws and all(is_integer(w) and w > 0 for w in ws) for ws in values):
        raise InputError(f"hidden as a tuple of positive widths, or a list of {steps} such tuples", repr(value))
    return values


def options_per_step(steps: int, layers: PerStep, residual_blocks: PerStep, hidden: Hidden) -> list[dict[str, Any]]:
    """The options `layers`, `residual_blocks` and `hidden` of each RG step, finest first, by name."""
    counts = integers_per_step(layers, steps, "layers"), integers_per_step(residual_blocks, steps, "residual_blocks")
    rows = zip(*counts, hidden_per_step(hidden, steps), strict=True)
    return [{"layers": n, "residual_blocks": blocks, "hidden": widths} for n, blocks, widths in rows]
