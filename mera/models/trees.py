"""Tree tensor networks and the ternary MERA, whose steps keep one site of each patch."""

from __future__ import annotations

from typing import Annotated

from typing_extensions import Unpack

from mera.flow import Flow
from mera.models.by_name import register
from mera.models.patches import Patches
from mera.names.flow_options import Channels, Edges, StepOptions
from mera.names.options import Option, count


@register("tree")
def tree(
    L: Annotated[
        Edges,
        Option(
            "edge of the lattice, or all its edges. Repeated division by m must take the smallest edge to m, and every "
            "other edge to a multiple of m."
        ),
    ] = 32,
    m: Annotated[
        int, Option("kernel size of the decimators; a step divides the edges of the lattice by m.", count(2))
    ] = 2,
    channels: Channels = 3,
    **options: Unpack[StepOptions],
) -> Flow:
    """Tree tensor network: decimators on m-wide patches, without disentanglers.

    Shi, Duan & Vidal (2006), https://arxiv.org/abs/quant-ph/0511070. Each step keeps one site of a patch, and the other
    sites leave as latents. Neighbouring sites in different patches meet in one decimator only at the step where their
    branches join.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    return Patches(L, channels, m, options, stride=m).renormalize([("decimator", 0)])


@register("ternary")
def ternary(
    L: Annotated[Edges, Option("edge of the lattice, or all its edges: 3, 9, 27, ...")] = 27,
    channels: Channels = 3,
    **options: Unpack[StepOptions],
) -> Flow:
    """Ternary MERA: disentanglers and decimators on patches that are 3 sites wide.

    Evenbly & Vidal (2009), https://arxiv.org/abs/0707.1454. Each step divides the edges of the lattice by 3.
    Disentanglers are offset by one site, so that they act across the borders between decimators.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    return Patches(L, channels, 3, options, stride=3).renormalize([("disentangler", 1), ("decimator", 0)])
