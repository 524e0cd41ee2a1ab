"""RG-Flow (Hu et al. 2020, arXiv 2010.00029)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from mera._utils.options import Option, choice, flag
from mera.bijectors import named
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
    EvenKernel,
    HiddenWidths,
    LatticeEdges,
    Layers,
    Norm,
    Priors,
    ResidualBlocks,
    ShareLevels,
    check_even,
)
from mera.models.patches import add_steps, bijectors_per_step
from mera.models.registry import register

__all__ = ["rgflow"]

LAYERS = (8, 6, 4, 2)
"""The published numbers of coupling layers at L=32 (RG-Flow, App. A), finest level first."""


def authors(options: Mapping[str, Any]) -> dict[str, Any]:
    """The preset "authors": the published sizes, order and conditioner, with 100 million parameters at L=32, m=4.

    If there are more levels than published numbers of layers, the further levels have the last number.

    Args:
        options: all options of the model, as they would be without the preset.
    """
    steps = levels(lattice_shape(options["L"], options["dim"]), check_even(options["m"], "m"))
    return {
        "order": "authors",
        "conditioner": "authors",
        "layers": tuple(LAYERS[min(h, len(LAYERS) - 1)] for h in range(steps)),
        "residual_blocks": 4,
        "hidden": (512, 512),
    }


@register("rgflow", presets={"authors": authors})
def rgflow(
    L: LatticeEdges = 32,
    m: EvenKernel = 4,
    channels: Channels = 3,
    *,
    order: Annotated[
        str,
        Option(
            'offsets of the blocks in a level. "paper": the disentangler at offset m/2, then the decimator at offset 0 '
            '(RG-Flow, Eq. 5). "authors": the first block at offset 0, the second at m/2, as in the RG-Flow authors\' '
            "code.",
            choice(["paper", "authors"], "an order"),
        ),
    ] = "paper",
    layers: Layers = 2,
    residual_blocks: ResidualBlocks = 1,
    hidden: HiddenWidths = (128,),
    conditioner: Conditioners = "joint",
    norm: Norm = None,
    bijector: Bijectors = None,
    share_levels: ShareLevels = False,
    spectral: Annotated[
        bool,
        Option(
            "first a learnt scale of each Fourier mode of the lattice, exact for a free field; cones then cover all "
            "pixels.",
            flag,
        ),
    ] = False,
    context: Context = None,
    classes: Classes = None,
    prior: Priors = "laplace",
    boundary: Boundary = "periodic",
    dim: Dimensions = 2,
) -> Flow:
    r"""RG-Flow: a MERA of disentanglers and decimators on m-wide patches.

    Hu et al. (2020), Fig. 2 and Eq. 5, https://arxiv.org/abs/2010.00029. At level h, on the lattice of edge :math:`L /
    2^h`, a row of disentanglers and a row of decimators act; then, in two dimensions, three of four sites leave as
    latents. All sites of the topmost lattice, which is m wide, leave. The preset "authors" has the published sizes,
    order and conditioner, 100 million parameters at L=32.

    Raises:
        ValueError: if the value of an option is invalid.
        LayoutError: if the options do not make a bijection.
    """
    shape = lattice_shape(L, dim)
    steps = levels(shape, m)
    bijectors = bijectors_per_step(
        steps, bijector=bijector, conditioner=conditioner, layers=layers, residual_blocks=residual_blocks,
        hidden=hidden, norm=norm,
    )  # fmt: skip
    if share_levels and any(other != bijectors[0] for other in bijectors):
        raise ValueError(
            "Expected the same layers, residual_blocks and hidden at all levels, which share them; "
            f"got {layers!r}, {residual_blocks!r} and {hidden!r}"
        )
    offsets = {"paper": (m // 2, 0), "authors": (0, m // 2)}
    first, second = offsets[order]
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.local(layout.input, named("spectral"), kernel=shape, name="spectral") if spectral else layout.input
    add_steps(layout, bijectors, (("disentangler", first), ("decimator", second)), m, 2, share_levels, x)
    return Flow(layout, prior, classes=classes)
