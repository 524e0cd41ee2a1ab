"""Bijectors of patches that layouts, files and the command line can name."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch

from mera._utils.checks import MAX_LAYERS, check_count
from mera._utils.flow_options import (
    Bins,
    Bound,
    Conditioners,
    ContextShape,
    HiddenWidths,
    Layers,
    Mask,
    Mix,
    OptionalNorm,
    ResidualBlocks,
    Shape,
    Transform,
)
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.autoregressive import Autoregressive
from mera.bijectors.base import Bijector
from mera.bijectors.block_spins import BlockSpins
from mera.bijectors.by_name import register
from mera.bijectors.compose import Chain, Invert
from mera.bijectors.cosine import DCT
from mera.bijectors.coupling import couplings
from mera.bijectors.coupling_parts import CONDITIONERS, TRANSFORMS, halves
from mera.bijectors.elementwise import Elementwise
from mera.bijectors.linear import LULinear
from mera.bijectors.permutation import Permutation
from mera.bijectors.spectral import Spectral
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Scaled, Univariate


@register("coupling")
def coupling(
    event_shape: Shape, *, layers: Layers = 2, residual_blocks: ResidualBlocks = 1, hidden: HiddenWidths = (128,),
    norm: OptionalNorm = None, mix_channels: Mix = None, conditioner: Conditioners = "joint",
    mask: Mask = "checkerboard", transform: Transform = "affine", context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Couplings of a patch, as in `Real NVP <https://arxiv.org/abs/1605.08803>`_ and RG-Flow (App. A)."""
    univariate: Univariate = TRANSFORMS.make(transform)
    network: Any = partial(CONDITIONERS.get(conditioner), hidden=tuple(hidden), blocks=residual_blocks)
    usual = conditioner == "joint" and not univariate.of_angles
    return couplings(
        halves(event_shape, mask),
        network,
        univariate,
        layers=layers,
        norm=usual if norm is None else norm,
        mix=usual if mix_channels is None else mix_channels,
        context_shape=context_shape,
    )


@register("maf")
def maf(
    event_shape: Shape, *, layers: Layers = 2, hidden: HiddenWidths = (128,), transform: Transform = "affine",
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Masked autoregressive flow, with a reversal of the variables between layers; see `Autoregressive`."""
    univariate: Univariate = TRANSFORMS.make(transform)
    members: list[Bijector] = []
    for layer in range(check_count(layers, "layers", most=MAX_LAYERS)):
        step = Autoregressive(event_shape, univariate, tuple(hidden), context_shape)
        if layer:
            members.append(Permutation(event_shape, torch.arange(step.variables).flip(0), per_site=False))
        members.append(step)
    return Chain(members)


@register("iaf")
def iaf(
    event_shape: Shape, *, layers: Layers = 2, hidden: HiddenWidths = (128,), transform: Transform = "affine",
    context_shape: ContextShape = None,
) -> Bijector:  # fmt: skip
    """Inverse autoregressive flow: one pass to generate, one pass per variable from data to latents."""
    members = maf(event_shape, layers=layers, hidden=hidden, transform=transform, context_shape=context_shape)
    return Chain([Invert(m) if isinstance(m, Autoregressive) else m for m in cast(Chain, members).bijectors])


@register("pointwise-spline")
def pointwise_spline(event_shape: Shape, *, bins: Bins = 8, bound: Bound = 4.0) -> Bijector:
    """A learnt scaled spline for each single variable; see `Elementwise`, `RationalQuadratic` and `Scaled`."""
    return Elementwise(event_shape, Scaled(RationalQuadratic(bins, bound)))


for name, kind in {
    "actnorm": ActNorm, "block-spins": BlockSpins, "dct": DCT, "linear": LULinear, "permutation": Permutation,
    "spectral": Spectral,
}.items():  # fmt: skip
    register(name)(kind)
