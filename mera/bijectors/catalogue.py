"""Bijectors of patches that layouts, files and the command line can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from typing_extensions import Unpack

from mera._utils.checks import DEEPEST, check_count
from mera._utils.errors import InputError
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.autoregressive import Autoregressive
from mera.bijectors.base import Bijector
from mera.bijectors.block_spins import BlockSpins
from mera.bijectors.by_name import make, named, register
from mera.bijectors.compose import Around, Chain, Invert
from mera.bijectors.conditioners.published import PatchMLPs, SeparateMLPs
from mera.bijectors.conditioners.residual import ResidualMLP
from mera.bijectors.cosine import DCT
from mera.bijectors.coupling_stack import couplings, parse_mask
from mera.bijectors.elementwise import Elementwise
from mera.bijectors.linear import LULinear
from mera.bijectors.partition import Gather
from mera.bijectors.permutation import Permutation
from mera.bijectors.scaled import Scaled
from mera.bijectors.spectral import Spectral
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Additive, Affine, Univariate
from mera.names.flow_options import (
    BijectorLike,
    Bins,
    Bound,
    Conditioners,
    ContextShape,
    CouplingOptions,
    HiddenWidths,
    Layers,
    Mask,
    MaxLogScale,
    Mix,
    OptionalNorm,
    ResidualBlocks,
    Shape,
)
from mera.names.options import Option, flag

CONDITIONERS: dict[str, Callable[..., Any]] = {"joint": ResidualMLP, "paper": SeparateMLPs, "authors": PatchMLPs}


@register("coupling")
def coupling(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 1, hidden: HiddenWidths = (128,),
    norm: OptionalNorm = None, mix_channels: Mix = None, conditioner: Conditioners = "joint",
    mask: Mask = "checkerboard", max_log_scale: MaxLogScale = 1.0, context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Affine couplings of a patch, as in `Real NVP <https://arxiv.org/abs/1605.08803>`_ and RG-Flow (App. A)."""
    return couplings(
        Gather(parse_mask(event_shape, mask)),
        partial(CONDITIONERS[conditioner], hidden=tuple(hidden), blocks=residual_blocks),
        Affine(max_log_scale),
        layers=layers,
        norm=conditioner == "joint" if norm is None else norm,
        mix=conditioner == "joint" if mix_channels is None else mix_channels,
        context_shape=context_shape,
    )


def _patch(event_shape: Shape, transform: Univariate, options: CouplingOptions) -> Bijector:
    """Couplings of a patch with the joint conditioner."""
    return couplings(
        Gather(parse_mask(event_shape, options["mask"])),
        partial(ResidualMLP, hidden=tuple(options["hidden"]), blocks=options["residual_blocks"]),
        transform,
        layers=options["layers"],
        norm=options["norm"],
        mix=options["mix_channels"] is not False,
        context_shape=options["context_shape"],
    )


@register("additive")
def additive(event_shape: Shape, **options: Unpack[CouplingOptions]) -> Bijector:
    """Additive couplings of a patch, as in `NICE <https://arxiv.org/abs/1410.8516>`_ (Dinh et al. 2014)."""
    return _patch(event_shape, Additive(), options)


@register("spline")
def spline(event_shape: Shape, *, bins: Bins = 8, bound: Bound = 4.0, **options: Unpack[CouplingOptions]) -> Bijector:
    """Couplings of a patch by scaled rational-quadratic splines; see `RationalQuadratic` and `Scaled`."""
    return _patch(event_shape, Scaled(RationalQuadratic(bins, bound)), options)


def _autoregressive(
    event_shape: Shape, transform: Univariate, layers: int, hidden: Sequence[int], inverted: bool,
    context_shape: Shape | None,
) -> Bijector:  # fmt: skip
    """Autoregressive maps; the order of the variables is reversed between them."""
    members: list[Bijector] = []
    for layer in range(check_count(layers, "layers", most=DEEPEST)):
        step = Autoregressive(event_shape, transform, tuple(hidden), context_shape)
        if layer:
            members.append(Permutation(event_shape, torch.arange(step.variables).flip(0), per_site=False))
        members.append(Invert(step) if inverted else step)
    return Chain(members)


@register("maf")
def maf(
    event_shape: Shape, *, layers: Layers = 2, hidden: HiddenWidths = (128,), max_log_scale: MaxLogScale = 1.0,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Affine masked autoregressive flow, with a reversal of the variables between layers; see `Autoregressive`."""
    return _autoregressive(event_shape, Affine(max_log_scale), layers, hidden, False, context_shape)


@register("iaf")
def iaf(
    event_shape: Shape, *, layers: Layers = 2, hidden: HiddenWidths = (128,), max_log_scale: MaxLogScale = 1.0,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Affine inverse autoregressive flow: one pass to generate, one pass per variable from data to latents."""
    return _autoregressive(event_shape, Affine(max_log_scale), layers, hidden, True, context_shape)


@register("spline-maf")
def spline_maf(
    event_shape: Shape, *, layers: Layers = 2, hidden: HiddenWidths = (128,), bins: Bins = 8, bound: Bound = 4.0,
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Autoregressive scaled rational-quadratic splines; see `Autoregressive`, `RationalQuadratic` and `Scaled`."""
    return _autoregressive(event_shape, Scaled(RationalQuadratic(bins, bound)), layers, hidden, False, context_shape)


@register("pointwise-spline")
def pointwise_spline(event_shape: Shape, *, bins: Bins = 8, bound: Bound = 4.0) -> Bijector:
    """A learnt scaled spline for each single variable; see `Elementwise`, `RationalQuadratic` and `Scaled`."""
    return Elementwise(event_shape, Scaled(RationalQuadratic(bins, bound)))


@register("permutation")
def permutation(
    event_shape: Shape,
    *,
    order: Annotated[
        Sequence[int] | None,
        Option("input position of each output position, a permutation of 0, ..., n - 1; random if None."),
    ] = None,
    per_site: Annotated[bool, Option("whether to reorder the channels of every site, or all variables.")] = True,
) -> Bijector:
    """A permutation of channels or variables; see `Permutation`."""
    try:
        indices = None if order is None else torch.tensor(list(order))
    except (TypeError, ValueError):
        raise InputError("a permutation as a list of numbers", repr(order)) from None
    return Permutation(event_shape, indices, per_site)


def _surrounded(
    inner: BijectorLike, event_shape: Shape, context_shape: Shape | None, around: Callable[[Bijector], Bijector]
) -> Bijector:
    """The bijector `inner` with maps around it, or alone if it acts on angles, which have no arithmetic mean."""
    factory = named(inner) if isinstance(inner, (str, Mapping)) else inner
    bijector = make(factory, event_shape, context_shape)
    has_angles = any(getattr(part, "of_angles", None) for part in bijector.modules())
    return bijector if has_angles else around(bijector)


@register("block-spins")
def block_spins(
    event_shape: Shape,
    *,
    inner: Annotated[BijectorLike, Option('the bijector, such as {"name": "spline", "bins": 5}.')] = "coupling",
    cell: Annotated[int | None, Option("edge of the cells of a patch; None for one cell.")] = 2,
    back: Annotated[bool, Option("transform back behind the bijector.", flag)] = False,
    context_shape: ContextShape = None,
) -> Bijector:
    """A bijector that acts on the block spins and details of cells; see `BlockSpins`, or `DCT` if it transforms back.

    A bijector of angles acts on the angles themselves.
    """
    before = DCT(event_shape, cell) if back else BlockSpins(event_shape, cell)
    after = [Invert(before)] if back else []
    return _surrounded(inner, event_shape, context_shape, lambda bijector: Around([before], bijector, after))


for name, kind in {
    "actnorm": ActNorm, "dct": DCT, "linear": LULinear, "spectral": Spectral,
}.items():  # fmt: skip
    register(name)(kind)
