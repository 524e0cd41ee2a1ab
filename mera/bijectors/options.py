"""The options that registered bijectors share, each declared once: type and help.

A factory names them in its signature, `layers: Layers = 2`; `mera.bijectors.register` writes their help into the
factory's docstring. Their values are checked by the classes that take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from mera._utils.options import Option

__all__ = [
    "Bins",
    "Bound",
    "Channels",
    "Components",
    "Conditioners",
    "ContextShape",
    "HiddenChannels",
    "HiddenWidths",
    "Kernel",
    "Layers",
    "Mask",
    "MaskName",
    "MaxLogScale",
    "Norm",
    "Odd",
    "Padding",
    "ResidualBlocks",
    "Shape",
]

Shape = tuple[int, ...]

ContextShape = Annotated[
    Shape | None,
    Option("shape of the context that conditional bijectors read; a flow passes it, None without a context."),
]
Layers = Annotated[int, Option("number of layers; a coupling layer updates both halves of an event once.")]
ResidualBlocks = Annotated[int, Option("number of residual blocks in a conditioner network.")]
HiddenWidths = Annotated[Sequence[int], Option("widths of the hidden layers; in a residual network, of one block.")]
HiddenChannels = Annotated[Sequence[int], Option("channels of the hidden convolutions in one residual block.")]
Norm = Annotated[bool, Option("an ActNorm before each coupling layer.")]
Odd = Annotated[
    bool,
    Option("couplings that map -x to -y where they map x to y, so that a flow gives x and -x the same density."),
]
Conditioners = Annotated[
    str,
    Option(
        'networks of the couplings. "joint": one network for scale and translation. "paper": a scale and a translation '
        'network for each half. "authors": both networks as wide as the patch, and the same for both halves.'
    ),
]
Mask = Annotated[
    str | Sequence[Any], Option('first half of the event: "checkerboard", "channels", or nested lists of truth values.')
]
MaskName = Annotated[str, Option('first half of the event: "checkerboard" or "channels".')]
MaxLogScale = Annotated[float, Option("bound of the logarithms of the scales.")]
Bins = Annotated[int, Option("number of bins of the spline.")]
Bound = Annotated[float, Option("the spline acts within [-bound, bound]; beyond, the map is the identity.")]
Components = Annotated[int, Option("number of logistic distributions in the mixture.")]
Padding = Annotated[
    str, Option('what convolutions read beyond the borders: "zeros", or "circular" where the lattice is periodic.')
]
Kernel = Annotated[int, Option("kernel size of the convolutions, odd.")]
Channels = Annotated[int, Option("number of channels, the first ones, that do not change and condition the others.")]
