"""Options of bijectors and models, each declared once: type, help, check, and the default of shared options.

A bijector names an option in the signature of its factory, a model in a field of its class: `layers: Layers = 2`. Help,
command line, reference and presets read the declaration. Where a model may set a bijector's option for each level,
the model's declaration is made from the bijector's with `Option.per_level`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from torch.distributions import Distribution

from mera._utils.options import Option, count, flag

Shape = tuple[int, ...]
Edges = int | Sequence[int]
"""One integer, or one for each dimension."""
PerLevel = int | Sequence[int]
"""One integer for all levels, or one for each level, finest first."""
Hidden = Sequence[int] | Sequence[Sequence[int]]
"""Widths of the hidden layers for all levels, or a sequence of widths for each level, finest first."""
BijectorLike = str | Mapping[str, Any] | Callable[..., Any]
"""A registered bijector, "linear", "coupling(layers=5)" or {"name": "coupling", "layers": 5}; or a bijector factory."""
PriorLike = str | Distribution
"""A prior by name, "gaussian" or "StudentT(df=5)"; or a torch distribution."""

PADDING = {"open": "zeros", "periodic": "circular"}
"""From a lattice boundary to the `padding_mode` of torch's convolutions."""


# Networks of couplings

LAYERS = Option("number of coupling layers; a layer updates both halves of an event once.")
RESIDUAL_BLOCKS = Option("number of residual blocks in a conditioner network.")
HIDDEN = Option("widths of the hidden layers; in a residual network, of one residual block.")
HIDDEN_CHANNELS = Option("channels of the hidden convolutions in one residual block.")
CONDITIONER = Option(
    'networks of the couplings. "joint": one network for scale and translation, for each half. "paper": a network for '
    'the scale and one for the translation, for each half (RG-Flow, App. A). "authors": a network for the scale and '
    "one for the translation, as wide as the patch and the same for both halves, as in the RG-Flow authors' code.",
)
NORM = Option("an ActNorm before each coupling layer; see `Flow.initialize`.", flag)
OPTIONAL_NORM = Option(
    f"{NORM.help} If None, only with the joint conditioner, since neither the RG-Flow paper "
    "nor the authors' code has ActNorms.",
    flag,
)

MIX = Option(
    "a learnt linear map of the channels of each site behind each coupling layer, which begins as the identity (Glow, "
    "Kingma and Dhariwal 2018); sites with one channel have none. If None, only with the joint conditioner, "
    "since neither the RG-Flow paper nor the authors' code has these maps.",
    flag,
)

Layers = Annotated[int, LAYERS]
ResidualBlocks = Annotated[int, RESIDUAL_BLOCKS]
HiddenWidths = Annotated[Sequence[int], HIDDEN]
HiddenChannels = Annotated[Sequence[int], HIDDEN_CHANNELS]
Conditioners = Annotated[str, CONDITIONER]
Norm = Annotated[bool, NORM]
OptionalNorm = Annotated[bool | None, OPTIONAL_NORM]
Mix = Annotated[bool | None, MIX]
Mask = Annotated[str, Option('first half of the event: "checkerboard" or "channels".')]
ContextShape = Annotated[
    Shape | None,
    Option("shape of the context of a conditional bijector, which a flow passes; None for no context."),
]
TRANSFORM = Option(
    'monotone map of each variable in a coupling: "affine", "spline", "circular-spline" for angles, or a '
    'registered one, with or without options, "spline(bins=4)".'
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
WINDOW = Option("the distance up to which a site reads its neighbours, in sites along each dimension.", count(1))
Window = Annotated[int, WINDOW]
Together = Annotated[
    bool,
    Option("whether black corners are drawn in one turn, which loses nothing where neighbours alone interact.", flag),
]
Passive = Annotated[int, Option("number of leading channels that do not change and condition the other channels.")]
