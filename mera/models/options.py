"""The options that models share, each declared once: type, help and check.

A model names them in its signature, `layers: Layers = 2`; `mera.models.register` checks them and writes them into the
model's docstring, and the command line shows their help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.options import Option, choice, count, flag
from mera.bijectors.catalogue import CONDITIONERS
from mera.priors import PriorLike

__all__ = [
    "BijectorLike",
    "Bijectors",
    "Boundary",
    "Channels",
    "Classes",
    "Conditioners",
    "Context",
    "Dimensions",
    "Edges",
    "EvenKernel",
    "FieldBoundary",
    "FieldLayers",
    "FieldNorm",
    "Hidden",
    "HiddenChannels",
    "HiddenWidths",
    "LatticeEdges",
    "Layers",
    "Norm",
    "PerStep",
    "Priors",
    "ResidualBlocks",
    "ShareLevels",
    "TopWidth",
    "check_even",
    "padding_of",
]

Edges = int | Sequence[int]
"""One integer, or one for each dimension."""
PerStep = int | Sequence[int]
"""One integer for all RG steps, or one for each, finest first."""
Hidden = Sequence[int] | Sequence[Sequence[int]]
"""The widths of hidden layers, or a list of them for each RG step, finest first."""
BijectorLike = str | Mapping[str, Any] | Callable[..., Any]
"""A registered bijector's name, {"name": ..., **options}, or a callable that makes a bijector from an event shape."""

PER_STEP = "One value for all RG steps, or one for each, finest first."
PADDING = {"open": "zeros", "periodic": "circular"}
"""By boundary, what convolutions read beyond the borders of a lattice, in torch's word."""


def check_even(value: Any, name: str) -> int:
    """Refuse a kernel size whose patches cannot be offset by half of their width."""
    if not is_integer(value) or value < 2 or value % 2:
        raise InputError(f"an even kernel size {name} >= 2", repr(value))
    return int(value)


def padding_of(boundary: str) -> str:
    """What convolutions read beyond the borders of a lattice, in torch's word."""
    return PADDING[boundary]


LatticeEdges = Annotated[
    Edges,
    Option("edge of the lattice, or all its edges; each edge halves to a multiple of m, the smallest to m itself."),
]
EvenKernel = Annotated[int, Option("kernel size of all blocks, even.", check_even)]
TopWidth = Annotated[
    int,
    Option(
        "width of the topmost lattice, which sends everything out.",
        count(2, "the width m"),
    ),
]
Channels = Annotated[int, Option("variables at a site.")]
Layers = Annotated[
    PerStep, Option(f"coupling layers in a block; one layer updates both halves of an event once. {PER_STEP}")
]
FieldLayers = Annotated[
    PerStep,
    Option(f"coupling layers of each kind at a scale; one layer updates both halves of an event once. {PER_STEP}"),
]
ResidualBlocks = Annotated[PerStep, Option(f"residual blocks in a conditioner network. {PER_STEP}")]
HiddenWidths = Annotated[
    Hidden,
    Option(
        "widths of the hidden layers in one residual block: a tuple for all RG steps, or a list of tuples, one for "
        "each, finest first."
    ),
]
HiddenChannels = Annotated[
    Hidden,
    Option(
        "channels of the hidden convolutions in one residual block: a tuple for all RG steps, or a list of tuples, one "
        "for each, finest first."
    ),
]
Conditioners = Annotated[
    str,
    Option(
        'networks of the couplings. "joint": one network for scale and translation, half a patch in. "paper": a scale '
        'and a translation network for each half, half a patch in and out (RG-Flow, App. A). "authors": both networks '
        "as wide as the patch, and the same for both halves, as in the RG-Flow authors' code.",
        choice(CONDITIONERS, "a conditioner"),
    ),
]
FieldNorm = Annotated[bool, Option("an ActNorm before each coupling layer; see `Flow.initialize`.", flag)]
Norm = Annotated[
    bool | None,
    Option(
        "an ActNorm before each coupling layer; see `Flow.initialize`. If None, with the joint conditioner only: "
        "neither the RG-Flow paper nor the authors' code has them.",
        flag,
    ),
]
Bijectors = Annotated[
    BijectorLike | None,
    Option(
        'bijector of all blocks, in place of affine couplings: a name of `mera.bijectors.names()`, {"name": ..., '
        "**options}, or a callable that makes one from an event shape. A named bijector gets those of `layers`, "
        "`residual_blocks`, `hidden`, `conditioner` and `norm` that it has."
    ),
]
ShareLevels = Annotated[
    bool,
    Option("all levels use the same disentangler and the same decimator: a scale-invariant flow.", flag),
]
Context = Annotated[
    Edges | None,
    Option("the flow is conditional on K numbers for each image, K or (K,); or on K for each pixel, (K, *lattice)."),
]
Classes = Annotated[
    int | None,
    Option("the flow is conditional on one of so many classes; a context is learnt for each class."),
]
Priors = Annotated[
    PriorLike, Option('density of the latents: "laplace", "gaussian", or any univariate torch distribution.')
]
Boundary = Annotated[str, Option('borders of the lattice: "periodic" or "open".')]
FieldBoundary = Annotated[
    str,
    Option(
        'borders of the lattice: "open", where convolutions read zeros beyond them, or "periodic", where convolutions '
        "read around them.",
        choice(PADDING, "a boundary"),
    ),
]
Dimensions = Annotated[int, Option("dimensions of the lattice, if L is one number.")]
