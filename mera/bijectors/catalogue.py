"""The bijectors of this package that layouts, files and the command line can name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from mera._utils.checks import check_choice, check_count
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.autoregressive import Autoregressive
from mera.bijectors.base import Bijector
from mera.bijectors.compose import Chain, Invert
from mera.bijectors.conditioners.published import PatchMLPs, SeparateMLPs
from mera.bijectors.conditioners.residual import ResidualConv, ResidualMLP
from mera.bijectors.coupling import Coupling
from mera.bijectors.coupling_stack import couplings, parse_mask
from mera.bijectors.elementwise import Asinh, Elementwise, LeakyReLU
from mera.bijectors.haar import Haar
from mera.bijectors.linear import LULinear, Orthogonal
from mera.bijectors.logistic_mixture import LogisticMixture
from mera.bijectors.partition import ChannelHalves, Gather, Masked, checkerboard
from mera.bijectors.permutation import Permutation
from mera.bijectors.registry import register
from mera.bijectors.reshape import Conditioned
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Additive, Affine, Univariate

__all__ = ["convolution", "coupling"]

Shape = tuple[int, ...]

CONDITIONERS: dict[str, Callable[..., Any]] = {"joint": ResidualMLP, "paper": SeparateMLPs, "authors": PatchMLPs}


@register("coupling")
def coupling(
    event_shape: Shape,
    *,
    layers: int = 2,
    residual_blocks: int = 1,
    hidden: Sequence[int] = (128,),
    norm: bool | None = None,
    conditioner: str = "joint",
    mask: str | Sequence[Any] = "checkerboard",
    max_log_scale: float = 1.0,
    context_shape: Shape | None = None,
) -> Bijector:
    """Affine couplings of a patch (Dinh et al. 2017; RG-Flow, App. A).

    Args:
        layers: couplings; each updates both halves once.
        residual_blocks: residual blocks in a conditioner.
        hidden: widths of the hidden layers in one residual block.
        norm: an ActNorm before each coupling; if None, with the joint conditioner only.
        conditioner: "joint": one network for scale and translation. "paper": one for each. "authors": those of the
            paper's code, as wide as the patch and the same for both halves.
        mask: the first half: "checkerboard", "channels", or nested lists of truth values.
        max_log_scale: the bound of the log-scales.
    """
    conditioner = check_choice(conditioner, CONDITIONERS, "a conditioner")
    return couplings(
        Gather(parse_mask(event_shape, mask)),
        partial(CONDITIONERS[conditioner], hidden=tuple(hidden), blocks=residual_blocks),
        Affine(max_log_scale),
        layers=layers,
        norm=conditioner == "joint" if norm is None else norm,
        context_shape=context_shape,
    )


def _patch(event_shape: Shape, transform: Univariate, hidden: Sequence[int], residual_blocks: int,
           mask: str | Sequence[Any], **others: Any) -> Bijector:  # fmt: skip
    """Couplings of a patch with the joint conditioner."""
    network = partial(ResidualMLP, hidden=tuple(hidden), blocks=residual_blocks)
    return couplings(Gather(parse_mask(event_shape, mask)), network, transform, **others)


@register("additive")
def additive(
    event_shape: Shape, *, layers: int = 2, residual_blocks: int = 1, hidden: Sequence[int] = (128,), norm: bool = True,
    mask: str | Sequence[Any] = "checkerboard", context_shape: Shape | None = None,
) -> Bijector:  # fmt: skip
    """Additive couplings of a patch (NICE, Dinh et al. 2014); options as for "coupling"."""
    return _patch(event_shape, Additive(), hidden, residual_blocks, mask, layers=layers, norm=norm,
                  context_shape=context_shape)  # fmt: skip


@register("spline")
def spline(
    event_shape: Shape, *, layers: int = 2, residual_blocks: int = 1, hidden: Sequence[int] = (128,), norm: bool = True,
    mask: str | Sequence[Any] = "checkerboard", bins: int = 8, bound: float = 4.0, context_shape: Shape | None = None,
) -> Bijector:  # fmt: skip
    """Rational-quadratic spline couplings of a patch; see `RationalQuadratic` and "coupling" for the options."""
    return _patch(event_shape, RationalQuadratic(bins, bound), hidden, residual_blocks, mask, layers=layers, norm=norm,
                  context_shape=context_shape)  # fmt: skip


@register("logistic-mixture")
def logistic_mixture(
    event_shape: Shape, *, layers: int = 2, residual_blocks: int = 1, hidden: Sequence[int] = (128,), norm: bool = True,
    mask: str | Sequence[Any] = "checkerboard", components: int = 4, context_shape: Shape | None = None,
) -> Bijector:  # fmt: skip
    """Mixture-of-logistics couplings of a patch; see `LogisticMixture` and "coupling" for the options."""
    return _patch(event_shape, LogisticMixture(components), hidden, residual_blocks, mask, layers=layers, norm=norm,
                  context_shape=context_shape)  # fmt: skip


@register("convolution")
def convolution(
    event_shape: Shape, *, layers: int = 2, residual_blocks: int = 2, hidden: Sequence[int] = (48,), norm: bool = True,
    mask: str = "checkerboard", padding: str = "zeros", kernel: int = 3, max_log_scale: float = 1.0,
    context_shape: Shape | None = None,
) -> Bijector:  # fmt: skip
    """Affine couplings of a whole lattice, conditioned by convolutions (Real NVP); options as for "coupling".

    Args:
        mask: "checkerboard" or "channels".
        padding: "zeros" between open borders, "circular" where the lattice is periodic.
        kernel: of the convolutions.
    """
    by_sites = check_choice(mask, ("checkerboard", "channels"), "a mask") == "checkerboard"
    partition = Masked(checkerboard(event_shape)) if by_sites else ChannelHalves(event_shape)
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    return couplings(partition, network, Affine(max_log_scale), layers=layers, norm=norm, norm_per_channel=True,
                     context_shape=context_shape)  # fmt: skip


@register("details")
def details(
    event_shape: Shape, *, passive: int, layers: int = 2, residual_blocks: int = 1, hidden: Sequence[int] = (48,),
    norm: bool = True, mask: str = "checkerboard", padding: str = "zeros", kernel: int = 3, max_log_scale: float = 1.0,
    context_shape: Shape | None = None,
) -> Bijector:  # fmt: skip
    """The channels behind the first ones by "convolution", given those; see `Conditioned`.

    Args:
        passive: how many channels stay.
        layers, residual_blocks, hidden, norm, mask, padding, kernel, max_log_scale: as for "convolution".
    """
    within = partial(
        convolution, layers=layers, residual_blocks=residual_blocks, hidden=hidden, norm=norm, mask=mask,
        padding=padding, kernel=kernel, max_log_scale=max_log_scale,
    )  # fmt: skip
    return Conditioned(
        event_shape,
        passive,
        lambda shape, inner_context: within(shape, context_shape=inner_context),
        context_shape=context_shape,
    )


@register("glow")
def glow(
    event_shape: Shape, *, layers: int = 2, residual_blocks: int = 1, hidden: Sequence[int] = (48,),
    padding: str = "zeros", kernel: int = 3, max_log_scale: float = 1.0, context_shape: Shape | None = None,
) -> Bijector:  # fmt: skip
    """Steps of Glow: ActNorm, 1 x 1 convolution, coupling of the channels (Kingma & Dhariwal 2018, Fig. 2a).

    Args:
        layers: steps.
        residual_blocks, hidden, padding, kernel, max_log_scale: as for "convolution".
    """
    network = partial(ResidualConv, hidden=tuple(hidden), blocks=residual_blocks, kernel=kernel, padding=padding)
    halves, transform = ChannelHalves(event_shape), Affine(max_log_scale)
    return Chain(
        member
        for _ in range(check_count(layers, "layers"))
        for member in (
            ActNorm(event_shape, per_channel=True),
            LULinear(event_shape),
            Coupling(halves, network, transform, context_shape=context_shape),
        )
    )


def _autoregressive(
    event_shape: Shape, transform: Univariate, layers: int, hidden: Sequence[int], inverted: bool,
    context_shape: Shape | None,
) -> Bijector:  # fmt: skip
    """Autoregressive maps, between which the variables' order is reversed."""
    members: list[Bijector] = []
    for layer in range(check_count(layers, "layers")):
        step = Autoregressive(event_shape, transform, tuple(hidden), context_shape)
        if layer:
            members.append(Permutation(event_shape, torch.arange(step.variables).flip(0), per_site=False))
        members.append(Invert(step) if inverted else step)
    return Chain(members)


@register("maf")
def maf(event_shape: Shape, *, layers: int = 2, hidden: Sequence[int] = (128,), max_log_scale: float = 1.0,
        context_shape: Shape | None = None) -> Bijector:  # fmt: skip
    """Masked autoregressive flow, affine; see `Autoregressive`. Every second step sees the variables in reverse."""
    return _autoregressive(event_shape, Affine(max_log_scale), layers, hidden, False, context_shape)


@register("iaf")
def iaf(event_shape: Shape, *, layers: int = 2, hidden: Sequence[int] = (128,), max_log_scale: float = 1.0,
        context_shape: Shape | None = None) -> Bijector:  # fmt: skip
    """Inverse autoregressive flow, affine: generates in one pass, and takes one per variable from data to latents."""
    return _autoregressive(event_shape, Affine(max_log_scale), layers, hidden, True, context_shape)


@register("spline-maf")
def spline_maf(event_shape: Shape, *, layers: int = 2, hidden: Sequence[int] = (128,), bins: int = 8,
               bound: float = 4.0, context_shape: Shape | None = None) -> Bijector:  # fmt: skip
    """Autoregressive rational-quadratic splines; see `Autoregressive` and `RationalQuadratic`."""
    return _autoregressive(event_shape, RationalQuadratic(bins, bound), layers, hidden, False, context_shape)


@register("pointwise-spline")
def pointwise_spline(event_shape: Shape, *, bins: int = 8, bound: float = 4.0) -> Bijector:
    """A spline for each variable by itself; see `Elementwise`."""
    return Elementwise(event_shape, RationalQuadratic(bins, bound))


@register("permutation")
def permutation(event_shape: Shape, *, order: Sequence[int] | None = None, per_site: bool = True) -> Bijector:
    """A permutation, random unless it is given; see `Permutation`."""
    try:
        indices = None if order is None else torch.tensor(list(order))
    except (TypeError, ValueError):
        raise ValueError(f"Expected a permutation as a list of numbers; got {order!r}") from None
    return Permutation(event_shape, indices, per_site)


for name, kind in {
    "actnorm": ActNorm, "asinh": Asinh, "haar": Haar, "leaky-relu": LeakyReLU, "linear": LULinear,
    "orthogonal": Orthogonal,
}.items():  # fmt: skip
    register(name)(kind)
