"""RG-Flow (Hu et al. 2020, arXiv 2010.00029)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mera._utils.checks import check_choice, check_flag, is_integer
from mera.flow import Flow
from mera.graph import Layout
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape, levels
from mera.models.patches import BijectorLike, add_steps, bijectors_per_step
from mera.models.registry import register
from mera.priors import PriorLike

__all__ = ["rgflow"]

LAYERS = (8, 6, 4, 2)
"""The published depths at L=32 (App. A)."""


def authors(options: Mapping[str, Any]) -> dict[str, Any]:
    """The published sizes, order and conditioner: 100 million parameters at L=32, m=4.

    Where there are more levels than published depths, the last depth goes on.
    """
    steps = levels(lattice_shape(options["L"], options["dim"]), kernel_size(options["m"]))
    return {
        "order": "authors",
        "conditioner": "authors",
        "layers": tuple(LAYERS[min(h, len(LAYERS) - 1)] for h in range(steps)),
        "residual_blocks": 4,
        "hidden": (512, 512),
    }


@register("rgflow", presets={"authors": authors})
def rgflow(
    L: Edges = 32,
    m: int = 4,
    channels: int = 3,
    *,
    order: str = "paper",
    layers: PerStep = 2,
    residual_blocks: PerStep = 1,
    hidden: Hidden = (128,),
    conditioner: str = "joint",
    norm: bool | None = None,
    bijector: BijectorLike | None = None,
    share_levels: bool = False,
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "laplace",
    boundary: str = "periodic",
    dim: int = 2,
) -> Flow:
    r"""RG-Flow: disentanglers and decimators on m-wide patches, the lattice halved at each level (Fig. 2, Eq. 5).

    Preset "authors": their sizes, order and conditioner, 100 million parameters at L=32.

    Level h acts on the lattice of edge L / 2^h. The topmost, m wide, sends everything out as latents.

    Args:
        L: edge of the lattice, or all its edges; each halves to a multiple of m, the smallest to m itself.
        m: kernel size of all blocks, even.
        channels: variables at a site.
        order: "paper": the disentangler at offset m/2, then the decimator at offset 0 (Eq. 5). "authors": the
            first block at offset 0, the second at m/2, as the authors' code has it.
        layers: coupling layers in a block; one layer updates both halves once.
        residual_blocks: residual blocks in a conditioner.
        hidden: widths of the hidden layers in one residual block.
        conditioner: "paper": a scale and a translation network for each half, half a patch in and out (App. A).
            "authors": both networks as wide as the patch, and the same for both halves, as in their code.
            "joint": one network for scale and translation, half a patch in.
        norm: an ActNorm before each coupling layer; see `Flow.initialize`. If None, with the joint conditioner only:
            neither the paper nor the authors' code has them.
        bijector: of all blocks, instead of affine couplings: a name of `mera.bijectors.names()`, {"name": ...,
            **options}, or a callable that makes one from an event shape. A name gets those of `layers`,
            `residual_blocks`, `hidden` and `norm` that it has.
        share_levels: all levels use the same disentangler and the same decimator: a scale-invariant flow.
        context: the flow is conditional on K numbers per image, K or (K,); or on K per pixel, (K, *lattice).
        classes: the flow is conditional on one of so many classes, for each of which a context is learnt.
        prior: "laplace", "gaussian", or any univariate torch distribution.
        boundary: "periodic" or "open".
        dim: dimensions of the lattice, if L is one number.

    `layers`, `residual_blocks` and `hidden` take one value for all RG steps or one for each, finest first.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    steps = levels(shape, kernel_size(m))
    bijectors = bijectors_per_step(
        steps, bijector=bijector, conditioner=conditioner, layers=layers, residual_blocks=residual_blocks,
        hidden=hidden, norm=norm,
    )  # fmt: skip
    if check_flag(share_levels, "share_levels") and any(other != bijectors[0] for other in bijectors):
        raise ValueError(
            "Expected the same layers, residual_blocks and hidden at all levels, which share them; "
            f"got {layers!r}, {residual_blocks!r} and {hidden!r}"
        )
    offsets = {"paper": (m // 2, 0), "authors": (0, m // 2)}
    first, second = offsets[check_choice(order, offsets, "an order")]
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    add_steps(layout, bijectors, (("disentangler", first), ("decimator", second)), m, 2, share_levels)
    return Flow(layout, prior, classes=classes)


def kernel_size(m: int) -> int:
    """m itself, if patches of its width can be offset by half of it."""
    if not is_integer(m) or m < 2 or m % 2:
        raise ValueError(f"Expected an even kernel size m >= 2; got {m!r}")
    return m
