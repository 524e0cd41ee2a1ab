"""Every bijector, small, on events whose sizes all differ."""

from functools import partial

import torch

from mera.bijectors import (
    DCT,
    ActNorm,
    Affine,
    BlockSpins,
    Chain,
    ChannelHalves,
    Composition,
    Conditional,
    Conditioned,
    Coupling,
    Elementwise,
    Gather,
    Invert,
    LULinear,
    Masked,
    PatchMLPs,
    RationalQuadratic,
    ResidualConv,
    ResidualMLP,
    SeparateMLPs,
    Spectral,
    VonMises,
    checkerboard,
    named,
)
from tests.helpers.laws import Dense

PATCH = (2, 3, 4)  # channels, height, width: all different, so that an exchanged axis shows
EVEN = (3, 2, 4)
LINE = (2, 5)
CUBE = (2, 2, 3, 4)
mlp = partial(ResidualMLP, hidden=(5, 4), blocks=2)
paper = partial(SeparateMLPs, hidden=(5, 4), blocks=2)
patch = partial(PatchMLPs, hidden=(5, 4), blocks=2)
conv = partial(ResidualConv, hidden=(3, 5), blocks=1)


def together(partition, *conditioners, layers=3, **options):
    """Couplings over one partition, so many of each conditioner."""
    return [Coupling(partition, conditioner, **options) for conditioner in conditioners for _ in range(layers)]


ANGLES = {"hidden": (3,), "transform": "circular-spline(bins=3, peak='von-mises')"}
NAMED = {
    "actnorm": ({"per_channel": True}, LINE),
    "convolution": ({"hidden": (3,), "mask": "channels", "residual_blocks": 1}, EVEN),
    "corners": ({"hidden": (3,), "layers": 2}, (4, 2, 3)),
    "coupling": ({"hidden": (5,), "mask": "channels"}, PATCH),
    "details": ({"passive": 1, "hidden": (3,), "layers": 1}, EVEN),
    "frames": ({"hidden": (3,)}, (8, 2, 3)),
    "frames-by-site": ({"hidden": (3,)}, (2, 2, 3)),
    "split-prior": ({"passive": 1, "hidden": (3,)}, EVEN),
    "glow-steps": ({"hidden": (5,), "layers": 2}, EVEN),
    "block-spins": ({}, PATCH),
    "dct": ({}, EVEN),
    "learnt-noise": ({"hidden": (3,), "residual_blocks": 1}, PATCH),
    "linear": ({"per_site": False}, LINE),
    "pointwise-spline": ({"bins": 3}, LINE),
    "spectral": ({}, CUBE),
}
"""By registered name, options and an event shape."""

BIJECTORS = {
    "gather-mlp-affine": lambda: Coupling(Gather(checkerboard(PATCH)), mlp),
    "gather-paper": lambda: Coupling(Gather(checkerboard(PATCH)), paper, Affine(1.0)),
    "gather-paper-odd": lambda: Coupling(Gather(checkerboard((1, 3, 3))), paper),
    "gather-authors-one-block": lambda: Coupling(
        Gather(checkerboard(PATCH)), partial(PatchMLPs, hidden=(29, 3), blocks=1)
    ),
    "gather-any-mask": lambda: Coupling(Gather(torch.arange(10).view(LINE) % 3 == 0), mlp),
    "gather-authors": lambda: Coupling(Gather(checkerboard(PATCH)), patch, Affine(1.0)),
    "masked-mlp": lambda: Coupling(Masked(PATCH), mlp),
    "halves-mlp": lambda: Coupling(ChannelHalves(PATCH), mlp),
    "halves-by-index": lambda: Coupling(ChannelHalves((3, 4), first=[1]), mlp),
    "halves-odd": lambda: Coupling(ChannelHalves((3, 4)), mlp),
    "conv-checkerboard-1d": lambda: Coupling(Masked(LINE), conv),
    "conv-checkerboard-2d": lambda: Coupling(Masked(PATCH), conv),
    "conv-checkerboard-3d": lambda: Coupling(Masked(CUBE), conv),
    "conv-stripes": lambda: Coupling(Masked(PATCH, stripes), conv),
    "conv-halves": lambda: Coupling(ChannelHalves(EVEN), partial(conv, padding="circular")),
    "couplings": lambda: Chain(together(Gather(checkerboard((1, 3, 3))), mlp, transform=Affine(0.7))),
    "couplings-conv-masked": lambda: Chain(together(Masked(PATCH), conv)),
    "actnorm": lambda: ActNorm(PATCH),
    "actnorm-channels": lambda: ActNorm(PATCH, per_channel=True),
    "chain": lambda: Chain([ActNorm(PATCH), Coupling(Gather(checkerboard(PATCH)), mlp), ActNorm(PATCH)]),
    "invert": lambda: Invert(Chain([ActNorm(PATCH), Coupling(ChannelHalves(PATCH), mlp)])),
    "dense": lambda: Dense(PATCH),
    "spline-coupling": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, RationalQuadratic(5, bound=1.5)),
    "spline-coupling-two-bins": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, RationalQuadratic(2)),
    "spline-conv": lambda: Coupling(ChannelHalves(EVEN), conv, RationalQuadratic(4)),
    "spline-masked": lambda: Coupling(Masked(PATCH), conv, RationalQuadratic(3)),
    "lu": lambda: LULinear(PATCH),
    "lu-event": lambda: LULinear(LINE, per_site=False),
    "lu-identity": lambda: LULinear(EVEN, identity=True),
    "block-spins-3d": lambda: BlockSpins((2, 3, 2, 4)),
    "dct": lambda: DCT(PATCH),
    "dct-3d": lambda: DCT((2, 4, 3, 5)),
    "pointwise-spline": lambda: Elementwise(PATCH, Composition(Affine(), RationalQuadratic(4))),
    "spectral-line": lambda: Spectral(LINE),
    "spectral": lambda: Spectral(PATCH),
    "conditioned": lambda: Conditioned(EVEN, 1, partial(coupling_of, ChannelHalves)),
    "conditioned-checkerboard": lambda: Conditioned((4, 2, 3), 3, partial(coupling_of, Masked)),
    "conditioned-some": lambda: Conditioned((5, 3), (3, 0), partial(Conditional, conditioner=conv), changed=(4, 1)),
    "corners-1d": lambda: named("corners", {"hidden": (3,), "norm": False})((2, 3)),
    "corners-3d": lambda: named("corners", {"hidden": (3,), "residual_blocks": 0})((8, 2, 3, 4)),
    "von-mises": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, VonMises()),
    "frames-angles": lambda: named("frames", {**ANGLES, "padding": "circular"})((4, 2, 3)),
    "frames-angles-together": lambda: named("frames", {**ANGLES, "together": True, "window": 2})((4, 2, 3)),
    "turn": lambda: named("frames", {"hidden": (3,)})((8, 2, 3)).bijectors[0],
    "frames-1d": lambda: named("frames", {"hidden": (3,), "padding": "circular"})((6, 5)),
    "frames-3d": lambda: named("frames", {"hidden": (3,), "window": 1})((16, 2, 3, 4)),
    "frames-by-site-angles": lambda: named("frames-by-site", {**ANGLES, "padding": "circular"})((1, 2, 3)),
    **{
        f"named-{name}": partial(lambda name, options, shape: named(name, options)(shape), name, options, shape)
        for name, (options, shape) in NAMED.items()
    },
}

CONDITIONAL = {
    "gather-per-image": lambda: (Coupling(Gather(checkerboard(PATCH)), mlp, context_shape=(3,))),
    "gather-paper": lambda: Coupling(Gather(checkerboard(PATCH)), paper, context_shape=(3,)),
    "gather-per-pixel": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, context_shape=(2, 3, 4)),
    "corners": lambda: named("corners", {"hidden": (3,)})((4, 2, 3), (5,)),
    "frames": lambda: named("frames", {"hidden": (3,)})((12, 2, 3), (5,)),
    "frames-angles-per-site": lambda: named("frames", ANGLES)((4, 2, 3), (5, 2, 3)),
    "frames-by-site": lambda: named("frames-by-site", {"hidden": (3,)})((2, 2, 3), (5,)),
    "conditional": lambda: Conditional(PATCH, mlp, (3,), RationalQuadratic(3)),
    "conditional-per-pixel": lambda: Conditional(PATCH, conv, (5, 3, 4)),
    "couplings": lambda: Chain(together(Gather(checkerboard(PATCH)), mlp, mlp, layers=1, context_shape=(3,))),
    "conv-per-image": lambda: Coupling(ChannelHalves(EVEN), conv, context_shape=(5,)),
    "conv-per-pixel": lambda: Coupling(Masked(EVEN), conv, context_shape=(5, 2, 4)),
    "chain-inverted": lambda: Invert(
        Chain([ActNorm(PATCH), Coupling(Gather(checkerboard(PATCH)), mlp, context_shape=(3,)), LULinear(PATCH)])
    ),
    **{
        f"named-{name}-{transform}": partial(named(name, {"hidden": (6,), "transform": transform}), EVEN, (3,))
        for name, transform in (("coupling", "affine"), ("coupling", "spline"), ("coupling", "circular-spline"),
                                ("convolution", "affine"), ("glow-steps", "affine"))
    },
}  # fmt: skip


def stripes(grids):
    """A mask of the sites of every second column."""
    return grids[-1] % 2 == 0


def coupling_of(partition, shape, context_shape):
    """Convolutional couplings that read a context."""
    return Coupling(partition(shape), conv, context_shape=context_shape)
