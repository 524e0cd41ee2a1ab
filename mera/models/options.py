"""The options that models share; each is declared once, with type, help and check.

A model uses these types in its signature, `layers: Layers = 2`. `mera.models.register` adds the checks to the model and
the help to its docstring, and the command line shows the help.
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
"""The widths of the hidden layers for all RG steps, or such widths for each RG step, finest first."""
BijectorLike = str | Mapping[str, Any] | Callable[..., Any]
"""A registered bijector, "spline", "spline(bins=5)" or {"name": "spline", "bins": 5}; or a callable that makes one."""

PER_STEP = "One value for all RG steps, or one for each, finest first."
PADDING = {"open": "zeros", "periodic": "circular"}
"""By boundary, torch's word for the values that convolutions read beyond the borders of a lattice."""


def check_even(value: Any, name: str) -> int:
    """Return a kernel size as an integer; refuse one that is not even, so that patches can be offset by half of it.

    Args:
        value: the value of an option.
        name: the name of the option.

    Raises:
        ValueError: if the value is no even integer >= 2.
    """
    if not is_integer(value) or value < 2 or value % 2:
        raise InputError(f"an even kernel size {name} >= 2", repr(value))
    return int(value)


def padding_of(boundary: str) -> str:
    """Torch's word for the values that convolutions read beyond the borders of a lattice, "zeros" or "circular".

    Args:
        boundary: "open" or "periodic".
    """
    return PADDING[boundary]


LatticeEdges = Annotated[
    Edges,
    Option(
        "edge of the lattice, or all its edges. Halving again and again must take the smallest edge to m, and each "
        "other edge to a multiple of m."
    ),
]
EvenKernel = Annotated[int, Option("kernel size of all blocks, even.", check_even)]
TopWidth = Annotated[
    int,
    Option(
        "width of the topmost lattice, all variables of which leave as latents.",
        count(2, "the width m"),
    ),
]
Channels = Annotated[int, Option("number of variables at a site.")]
Layers = Annotated[
    PerStep, Option(f"number of coupling layers in a block; a layer updates both halves of an event once. {PER_STEP}")
]
FieldLayers = Annotated[
    PerStep,
    Option(
        f"number of coupling layers of each kind at a scale; a layer updates both halves of an event once. {PER_STEP}"
    ),
]
ResidualBlocks = Annotated[PerStep, Option(f"number of residual blocks in a conditioner network. {PER_STEP}")]
HiddenWidths = Annotated[
    Hidden,
    Option(
        "widths of the hidden layers in one residual block: a tuple for all RG steps, or a list of tuples, one for "
        "each RG step, finest first."
    ),
]
HiddenChannels = Annotated[
    Hidden,
    Option(
        "channels of the hidden convolutions in one residual block: a tuple for all RG steps, or a list of tuples, one "
        "for each RG step, finest first."
    ),
]
Conditioners = Annotated[
    str,
    Option(
        'networks of the couplings. "joint": one network for scale and translation, for each half. "paper": a network '
        'for the scale and one for the translation, for each half (RG-Flow, App. A). "authors": a network for the '
        "scale and one for the translation, as wide as the patch and the same for both halves, as in the RG-Flow "
        "authors' code.",
        choice(CONDITIONERS, "a conditioner"),
    ),
]
FieldNorm = Annotated[bool, Option("an ActNorm before each coupling layer; see `Flow.initialize`.", flag)]
Norm = Annotated[
    bool | None,
    Option(
        "an ActNorm before each coupling layer; see `Flow.initialize`. If None, only with the joint conditioner, since "
        "neither the RG-Flow paper nor the authors' code has ActNorms.",
        flag,
    ),
]
Bijectors = Annotated[
    BijectorLike | None,
    Option(
        "bijector of all blocks, in place of affine couplings: a name of `mera.bijectors.names()`, with or without "
        'options, "spline(bins=5)" or {"name": "spline", "bins": 5}; or a callable that makes a bijector from an event '
        "shape. Of the options `layers`, `residual_blocks`, `hidden`, `conditioner` and `norm`, a named bijector gets "
        "those that it has."
    ),
]
ShareLevels = Annotated[
    bool,
    Option("one disentangler and one decimator for all levels, which makes the flow scale-invariant.", flag),
]
Context = Annotated[
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
Priors = Annotated[
    PriorLike,
    Option('prior of the latents: "laplace", "gaussian", or any univariate distribution of torch, "StudentT(df=5)".'),
]
Boundary = Annotated[str, Option('borders of the lattice: "periodic" or "open".')]
FieldBoundary = Annotated[
    str,
    Option(
        'borders of the lattice: "open", beyond which convolutions read zeros, or "periodic", where they continue at '
        "the opposite border.",
        choice(PADDING, "a boundary"),
    ),
]
Dimensions = Annotated[int, Option("number of dimensions of the lattice, if L is one number.")]
