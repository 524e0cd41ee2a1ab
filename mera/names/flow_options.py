"""Options of bijectors and models, each declared once: type, help, check, and the default of shared options.

A bijector or a model names an option in its signature, `layers: Layers = 2`, or takes the options that a family shares
as `**options: Unpack[PatchOptions]`. Help, command line, reference and presets read the declaration. Where a model may
set a bijector's option for each RG step, the model's declaration is made from the bijector's with `Option.per_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from torch.distributions import Distribution

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.names.options import Option, choice, count, flag

Shape = tuple[int, ...]
Edges = int | Sequence[int]
"""One integer, or one for each dimension."""
PerStep = int | Sequence[int]
"""One integer for all RG steps, or one for each RG step, finest first."""
Hidden = Sequence[int] | Sequence[Sequence[int]]
"""Widths of the hidden layers for all RG steps, or a sequence of widths for each RG step, finest first."""
BijectorLike = str | Mapping[str, Any] | Callable[..., Any]
"""A registered bijector, "maf", "maf(layers=5)" or {"name": "maf", "layers": 5}; or a bijector factory."""
PriorLike = str | Mapping[str, Any] | Distribution
"""A prior by name, "gaussian" or "StudentT(df=5)"; a dict that describes it; or a torch distribution."""

CONDITIONERS = ("joint", "paper", "authors")
PADDING = {"open": "zeros", "periodic": "circular"}
"""From a lattice boundary to the `padding_mode` of torch's convolutions."""


def check_even(value: Any, name: str) -> int:
    """Return an even kernel size >= 2 as an integer; raise a `ValueError` for any other value of the option `name`.

    The kernel size has to be even so that patches can be offset by half of it.
    """
    if not is_integer(value) or value < 2 or value % 2:
        raise InputError(f"an even kernel size {name} >= 2", repr(value))
    return int(value)


# Networks of couplings

LAYERS = Option("number of coupling layers; a layer updates both halves of an event once.", default=2)
RESIDUAL_BLOCKS = Option("number of residual blocks in a conditioner network.", default=1)


def _widths(value: Any, name: str) -> Any:
    """Refuse widths that are no sequence; how many there must be depends on the network."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"{name} as a tuple of widths", repr(value))
    return value


HIDDEN = Option("widths of the hidden layers; in a residual network, of one residual block.", _widths, (128,))
HIDDEN_CHANNELS = Option("channels of the hidden convolutions in one residual block.", _widths, (48,))
CONDITIONER = Option(
    'networks of the couplings. "joint": one network for scale and translation, for each half. "paper": a network for '
    'the scale and one for the translation, for each half (RG-Flow, App. A). "authors": a network for the scale and '
    "one for the translation, as wide as the patch and the same for both halves, as in the RG-Flow authors' code.",
    choice(CONDITIONERS, "a conditioner"),
    "joint",
)
NORM = Option("an ActNorm before each coupling layer; see `Flow.initialize`.", flag, True)
OPTIONAL_NORM = Option(
    f"{NORM.help} If None, only with the joint conditioner, since neither the RG-Flow paper "
    "nor the authors' code has ActNorms.",
    flag,
    None,
)

MIX = Option(
    "a learnt linear map of the channels of each site behind each coupling layer, which begins as the identity (Glow, "
    "Kingma and Dhariwal 2018); there is none if a site has one channel. If None, only with the joint conditioner, "
    "since neither the RG-Flow paper nor the authors' code has these maps.",
    flag,
    None,
)

Layers = Annotated[int, LAYERS]
ResidualBlocks = Annotated[int, RESIDUAL_BLOCKS]
HiddenWidths = Annotated[Sequence[int], HIDDEN]
HiddenChannels = Annotated[Sequence[int], HIDDEN_CHANNELS]
Conditioners = Annotated[str, CONDITIONER]
Norm = Annotated[bool, NORM]
OptionalNorm = Annotated[bool | None, OPTIONAL_NORM]
Mix = Annotated[bool | None, MIX]
Mask = Annotated[
    str | Sequence[Any],
    Option('first half of the event: "checkerboard", "channels", or nested lists of bools.', default="checkerboard"),
]
ContextShape = Annotated[
    Shape | None,
    Option("shape of the context of a conditional bijector, which a flow passes; None for no context.", default=None),
]
TRANSFORM = Option(
    'monotone map of each variable in a coupling: "affine", "additive", "spline", "circular-spline" for angles, or a '
    'registered one, with or without options, "spline(bins=4)".',
    default="affine",
)
Transform = Annotated[str, TRANSFORM]
Bins = Annotated[int, Option("number of bins of the spline.")]
Bound = Annotated[
    float, Option("the spline acts within [-bound, bound] after a learnt scale and shift; beyond, the map is a line.")
]
Padding = Annotated[
    str, Option('padding mode of the convolutions: "zeros" for open borders, "circular" for a periodic lattice.')
]
Kernel = Annotated[int, Option("kernel size of the convolutions, odd.")]
Passive = Annotated[int, Option("number of leading channels that do not change and condition the other channels.")]


# Lattices and densities of models

LatticeEdges = Annotated[
    Edges,
    Option(
        "edge of the lattice, or all its edges. Repeated halving must take the smallest edge to m, and every other "
        "edge to a multiple of m."
    ),
]
EvenKernel = Annotated[int, Option("kernel size of all blocks, even.", check_even)]
TopWidth = Annotated[
    int, Option("width of the topmost lattice, whose variables all leave as latents.", count(2, "the width m"))
]
Channels = Annotated[int, Option("number of variables at a site.")]
FieldLayers = Annotated[
    PerStep,
    Option(
        "number of coupling layers of each kind at a scale; a layer updates both halves of an event once."
    ).per_step(),
]


class DensityOptions(TypedDict, total=False):
    """Options that all models share."""

    context: Annotated[
        Edges | None,
        Option(
            "shape of the context of a conditional flow: K or (K,) for K numbers per image, (K, *lattice) for K "
            "numbers at each pixel.",
            default=None,
        ),
    ]
    classes: Annotated[
        int | None,
        Option(
            "number of classes of a flow that is conditional on a class; a context is learnt for each class.",
            default=None,
        ),
    ]
    dim: Annotated[int, Option("number of dimensions of the lattice, if L is one number.", default=2)]


PRIOR = (
    'prior of the latents: "gaussian", "laplace", or a univariate distribution of torch whose parameters are numbers, '
    '"StudentT(df=5)".'
)


class BlockOptions(TypedDict, total=False):
    """Options of the bijectors that models of patches have in each block."""

    layers: Annotated[PerStep, LAYERS.per_step()]
    residual_blocks: Annotated[PerStep, RESIDUAL_BLOCKS.per_step()]
    hidden: Annotated[Hidden, HIDDEN.per_step()]
    conditioner: Conditioners
    norm: OptionalNorm
    mix_channels: Mix
    transform: Transform
    bijector: Annotated[
        BijectorLike | None,
        Option(
            "bijector of all blocks, in place of couplings: a name of `mera.bijectors.names()`, with or without "
            'options, "maf(layers=5)" or {"name": "maf", "layers": 5}; or a callable that makes a bijector from an '
            "event shape. A named bijector gets each of the options `layers`, `residual_blocks`, `hidden`, "
            "`conditioner`, `norm`, `mix_channels` and `transform` that it has.",
            default=None,
        ),
    ]


class PatchOptions(BlockOptions, DensityOptions, total=False):
    """Options that models of patches share."""

    prior: Annotated[PriorLike, Option(PRIOR, default="gaussian")]
    boundary: Annotated[str, Option('borders of the lattice: "periodic" or "open".', default="periodic")]


LEVELS = Annotated[
    int | None,
    Option(
        "number of levels, for a lattice of any edges that m 2^(levels - 1) divides (for cells of another edge, its "
        "powers). If None, as many as take the smallest edge to m.",
        default=None,
    ),
]


class StepOptions(PatchOptions, total=False):
    """Options that models of patches share whose steps decimate the lattice."""

    levels: LEVELS

    block_spins: Annotated[
        bool,
        Option(
            "whether the blocks of each level but the coarsest act on an orthonormal cosine transform of each cell, "
            "for cells of edge 2 the Haar transform, so that the site that a decimation keeps of a cell begins as its "
            "block spin, the mean, times a learnt factor. Levels that share modules have it at the coarsest level too.",
            flag,
            False,
        ),
    ]
    details: Annotated[
        PerStep,
        Option(
            "number of coupling layers with convolutions that act, at each level but the coarsest, on the variables "
            "that are about to leave, given the kept site of each cell and the neighbouring cells; 0 for none. Kept "
            "sites do not change. Causal cones grow by the reach of the convolutions, and restricted evaluation takes "
            "all sites of coarser lattices. The number for the coarsest level is not used.",
            default=0,
        ).per_step(),
    ]


class FieldOptions(DensityOptions, total=False):
    """Options that models of whole lattices share."""

    levels: LEVELS
    residual_blocks: Annotated[PerStep, RESIDUAL_BLOCKS.per_step()]
    hidden: Annotated[Hidden, HIDDEN_CHANNELS.per_step()]
    transform: Transform
    prior: Annotated[PriorLike, Option(PRIOR, default="gaussian")]
    boundary: Annotated[
        str,
        Option(
            'borders of the lattice: "open", beyond which convolutions read zeros, or "periodic", where they continue '
            "at the opposite border.",
            choice(PADDING, "a boundary"),
            "open",
        ),
    ]
