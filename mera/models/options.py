"""The options of models, as fields that families of models share; and their values for each level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from mera._utils import flow_options as opt
from mera._utils.checks import MAX_LAYERS, is_integer, is_list
from mera._utils.errors import InputError
from mera._utils.flow_options import Edges, Hidden, PerLevel, PriorLike
from mera._utils.options import Option, check_fields, choice, count, flag
from mera.graph import Layout
from mera.models.lattices import Kernel, kernels, lattice_shape, plain_widths

Layers = Annotated[PerLevel, opt.LAYERS.per_level()]
ResidualBlocks = Annotated[PerLevel, opt.RESIDUAL_BLOCKS.per_level()]
Widths = Annotated[Hidden, opt.HIDDEN.per_level()]
WidthsOfChannels = Annotated[Hidden, opt.HIDDEN_CHANNELS.per_level()]
Channels = Annotated[int, Option("number of variables at a site.")]
LatticeEdges = Annotated[Edges, Option("edge of the lattice, or all its edges, which halve as long as they are even.")]
Dim = Annotated[int | None, Option("number of dimensions of the lattice, if L is one number; 2 if None.")]
PatchWidths = Annotated[
    Edges | None,
    Option(
        "width of the patches, one for all levels or one for each, finest first. If None, patches are 4 wide where 4 "
        "divides the edges of a level, else 2; and the coarsest level is one patch if it is small."
    ),
]
TopWidth = Annotated[
    int, Option("width below which edges do not halve; all variables of that lattice leave.", count(2))
]
LevelCount = Annotated[
    int | None,
    Option(
        "number of levels, for a lattice of any edges that 2^(levels - 1) divides (for cells of another edge, its "
        "powers). If None, as many as the edges halve, down to a width of m or 4."
    ),
]
PriorOption = Annotated[
    PriorLike,
    Option('prior of the latents: "gaussian", "laplace", or one such as "StudentT(df=5)"; see `mera.Prior`.'),
]
ContextEdges = Annotated[
    Edges | None,
    Option(
        "shape of the context of a conditional flow: K or (K,) for K numbers per image, (K, *lattice) for K numbers at "
        "each pixel."
    ),
]
Classes = Annotated[
    int | None, Option("number of classes of a class-conditional flow, which learns a context for each.")
]
Boundary = Annotated[str, Option('borders of the lattice: "periodic" or "open".')]
FieldBoundary = Annotated[
    str,
    Option(
        'borders of the lattice: "open", beyond which convolutions read zeros, or "periodic".',
        choice(opt.PADDING, "a boundary"),
    ),
]
Blocks = Annotated[
    opt.BijectorLike | None,
    Option(
        "bijector of all blocks, in place of couplings: a name of `mera.bijectors.names()`, with or without options, "
        '"glow-steps(layers=5)" or {"name": "glow-steps", "layers": 5}; or a callable that makes a bijector from an '
        "event shape. A named bijector gets each of the options `layers`, `residual_blocks`, `hidden`, `conditioner`, "
        "`norm`, `mix_channels` and `transform` that it has."
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
    PerLevel,
    Option(
        "number of coupling layers with convolutions that act, at each level but the coarsest, on the variables that "
        "are about to leave, given the kept site of each cell and the neighbouring cells; 0 for none. Kept sites do "
        "not change. Causal cones grow by the reach of the convolutions, and restricted evaluation takes all sites of "
        "coarser lattices. The number for the coarsest level is not used."
    ).per_level(),
]
DetailsWidths = Annotated[Hidden, Option("channels of the hidden convolutions of the option `details`.").per_level()]
LearntPrior = Annotated[
    Hidden | None,
    Option(
        "channels of the hidden convolutions of a learnt prior, as at the splits of Glow: at each level but the "
        "coarsest, the variables that leave have a mean and a scale that depend on the kept site of each cell and of "
        "neighbouring cells. None for none. Causal cones grow as with `details`."
    ).per_level(),
]
FieldLayers = Annotated[
    PerLevel, Option("number of coupling layers of each kind at a level; a layer updates both halves once.").per_level()
]


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """The options that all models have; a model is a subclass with fields of its own and the method `layout`.

    Attributes:
        presets: by name, a function that maps all options, with the values they have without the preset, to the options
            that the preset changes.
    """

    presets: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {}

    L: LatticeEdges = 32
    channels: Channels = 3
    prior: PriorOption = "gaussian"
    context: ContextEdges = None
    classes: Classes = None
    dim: Dim = None

    def __post_init__(self) -> None:
        check_fields(self)

    def fitted(self) -> dict[str, Any]:
        """The values of options that depend on the lattice or on other options and were left out, by name."""
        return {}

    @abstractmethod
    def layout(self) -> Layout:
        """Declare the layout, of `context_shape`; `mera.build` makes its flow, with the prior and the classes.

        Raises:
            ValueError: if the value of an option is invalid.
            LayoutError: if the options do not make a bijection.
        """

    @property
    def shape(self) -> tuple[int, ...]:
        """The edges of the lattice."""
        return lattice_shape(self.L, self.dim)

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
    conditioner: opt.Conditioners = "joint"
    norm: opt.OptionalNorm = None
    mix_channels: opt.Mix = None
    transform: opt.Transform = "affine"
    bijector: Blocks = None
    boundary: Boundary = "periodic"


@dataclass(frozen=True, kw_only=True)
class StepModel(PatchModel):
    """Options that models of patches with decimations share."""

    levels: LevelCount = None
    block_spins: BlockSpinsFlag = False
    details: Details = 0
    details_hidden: DetailsWidths = (32,)
    learnt_prior: LearntPrior = None

    width: ClassVar[int] = 4
    """The preferred width of patches."""
    stride: ClassVar[int] = 2
    """The edge of the cells of which a decimation keeps one site."""

    @property
    def kernels(self) -> list[Kernel]:
        """The patch of each level, finest first."""
        m, share = getattr(self, "m", None), getattr(self, "share_levels", False)
        return kernels(self.shape, m, self.width, self.stride, self.levels, share)

    def fitted(self) -> dict[str, Any]:
        """The widths of the patches, if they were left out."""
        return {"m": plain_widths(self.kernels)} if hasattr(self, "m") else {}


@dataclass(frozen=True, kw_only=True)
class FieldModel(Model):
    """Options that models of whole lattices share."""

    m: TopWidth = 4
    layers: FieldLayers = 2
    levels: LevelCount = None
    residual_blocks: ResidualBlocks = 1
    hidden: Annotated[Hidden | None, opt.HIDDEN_CHANNELS.per_level()] = (48,)
    transform: opt.Transform = "affine"
    boundary: FieldBoundary = "open"


def integers_per_level(value: PerLevel, steps: int, what: str, least: int = 1) -> list[int]:
    """One integer for each level, finest first, from one for all levels or one for each."""
    values: list[Any] = list(value) if is_list(value) else [value] * steps
    if len(values) != steps or not all(is_integer(v) and least <= v <= MAX_LAYERS for v in values):
        expected = f"{what} as one integer from {least} to {MAX_LAYERS:,}, or one for each of {steps} levels"
        raise InputError(expected, repr(value))
    return values


def hidden_per_level(value: Hidden, steps: int, name: str = "hidden") -> list[tuple[int, ...]]:
    """Widths of the hidden layers for each level, finest first, from widths for all levels or for each."""
    nested = is_list(value) and len(value) > 0 and all(map(is_list, value))
    rows: Sequence[Any] = value if nested else (value,) * steps
    values = [tuple(widths) if is_list(widths) else () for widths in rows]
    if len(values) != steps or not all(ws and all(is_integer(w) and w > 0 for w in ws) for ws in values):
        raise InputError(f"{name} as a tuple of positive widths, or a list of {steps} such tuples", repr(value))
    return values


def options_per_level(steps: int, layers: PerLevel, residual_blocks: PerLevel, hidden: Hidden) -> list[dict[str, Any]]:
    """The options `layers`, `residual_blocks` and `hidden` of each level, finest first, by name."""
    counts = integers_per_level(layers, steps, "layers"), integers_per_level(residual_blocks, steps, "residual_blocks")
    rows = zip(*counts, hidden_per_level(hidden, steps), strict=True)
    return [{"layers": n, "residual_blocks": blocks, "hidden": widths} for n, blocks, widths in rows]
