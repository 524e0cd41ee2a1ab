"""Every model, small, for whatever all of them have to pass."""

from functools import partial

import torch

import mera
from mera.bijectors import Chain, LULinear, named
from tests.helpers.laws import Asinh

rgflow = partial(mera.build, "rgflow", layers=1, hidden=(5, 4), residual_blocks=2)
realnvp = partial(mera.build, "realnvp", layers=1, hidden=(3,), residual_blocks=1)


def small(name, **options):
    return mera.build(name, layers=1, hidden=(4,), residual_blocks=1, **options)


def framed(**options):
    return mera.build("decimation", hidden=(4,), residual_blocks=1, window=2, **options)


MODELS = {
    "rgflow": lambda: rgflow(L=8, m=4, channels=1),
    "rgflow-authors": lambda: rgflow(L=8, m=4, channels=1, preset="authors"),
    "rgflow-authors-m2": lambda: rgflow(L=8, m=2, channels=2, preset="authors"),
    "rgflow-paper": lambda: rgflow(L=(4, 8), m=2, channels=2, conditioner="paper", prior="gaussian"),
    "rgflow-no-norm": lambda: rgflow(L=8, m=2, channels=2, norm=False),
    "rgflow-open": lambda: rgflow(L=8, m=4, channels=2, boundary="open"),
    "rgflow-open-authors": lambda: rgflow(L=(8, 4), m=2, channels=2, boundary="open", order="authors"),
    "rgflow-1d": lambda: rgflow(L=16, m=4, channels=2, dim=1),
    "rgflow-1d-open": lambda: rgflow(L=16, m=2, channels=3, dim=1, boundary="open"),
    "rgflow-3d": lambda: rgflow(L=4, m=2, channels=2, dim=3),
    "rgflow-3d-box-open": lambda: rgflow(L=(4, 2, 6), m=2, channels=1, boundary="open"),
    "rgflow-block-spins-off": lambda: rgflow(L=8, m=2, channels=2, block_spins=False),
    "rgflow-block-spins-authors-m6": lambda: rgflow(L=(12, 24), m=6, channels=2, order="authors"),
    "rgflow-details": lambda: rgflow(L=8, m=2, channels=2, details=(2, 1, 0), boundary="open"),
    "rgflow-prior": lambda: rgflow(L=8, m=2, channels=2, learnt_prior=(3,), details=(1, 0, 0), boundary="open"),
    "rgflow-prior-shared": lambda: rgflow(L=8, m=2, channels=2, learnt_prior=(3,), share_levels=True),
    "rgflow-noise": lambda: rgflow(L=8, m=2, channels=2, learnt_noise=(3,)),
    "rgflow-noise-1d-open": lambda: rgflow(L=16, m=4, channels=2, dim=1, learnt_noise=(3,), boundary="open"),
    "rgflow-noise-spectral": lambda: rgflow(L=4, m=2, channels=1, learnt_noise=(3,), spectral=True),
    "rgflow-noise-3d": lambda: rgflow(L=4, m=2, channels=2, dim=3, learnt_noise=(3,)),
    "rgflow-details-shared": lambda: rgflow(L=8, m=2, channels=2, details=1, share_levels=True),
    "rgflow-details-3d": lambda: rgflow(L=4, m=2, channels=2, dim=3, details=1),
    "rgflow-details-1d": lambda: rgflow(L=16, m=4, channels=2, dim=1, details=1),
    "rgflow-shared": lambda: rgflow(L=8, m=2, channels=2, share_levels=True),
    "realnvp": lambda: realnvp(L=8, m=4, channels=1),
    "realnvp-periodic": lambda: realnvp(L=(4, 8), m=2, channels=2, boundary="periodic"),
    "realnvp-1d": lambda: realnvp(L=16, m=4, channels=2, dim=1),
    "realnvp-3d": lambda: realnvp(L=4, m=2, channels=1, dim=3, norm=False),
    "rgflow-spectral": lambda: rgflow(L=(4, 8), m=2, channels=2, spectral=True),
    "rgflow-spline": lambda: rgflow(L=8, channels=1, transform="spline"),
    "rgflow-leaky": lambda: rgflow(L=4, m=2, channels=2, bijector=lambda shape: Chain([LULinear(shape), Asinh(shape)])),
    "neuralrg": lambda: small("neuralrg", L=8, repeats=2),
    "neuralrg-1d": lambda: small("neuralrg", L=16, channels=2, dim=1, boundary="open"),
    "neuralrg-block-spins": lambda: small("neuralrg", L=8, repeats=2, block_spins=True),
    "tree": lambda: small("tree", L=8, m=2, channels=2),
    "tree-wide": lambda: small("tree", L=(9, 27), m=3, channels=1, boundary="open"),
    "ternary": lambda: small("ternary", L=9, channels=2),
    "ternary-details": lambda: small("ternary", L=9, channels=2, details=1),
    "ternary-1d-open": lambda: small("ternary", L=27, channels=1, dim=1, boundary="open"),
    "tebd": lambda: small("tebd", L=(8, 12), m=4, channels=1, depth=2),
    "tebd-open-3d": lambda: small("tebd", L=4, m=2, channels=1, depth=1, dim=3, boundary="open"),
    "tree-details": lambda: small("tree", L=(9, 27), m=3, channels=1, boundary="open", details=1, block_spins=True),
    "branching": lambda: small("branching", L=8, m=2, channels=1),
    "branching-details": lambda: small("branching", L=4, m=2, channels=1, details=1),
    "branching-block-spins": lambda: small("branching", L=8, m=2, channels=1, block_spins=True),
    "branching-1d-open": lambda: small("branching", L=16, m=4, channels=2, dim=1, boundary="open"),
    "glow": lambda: small("glow", L=8, m=4, channels=1),
    "glow-periodic": lambda: small("glow", L=(4, 8), m=2, channels=2, boundary="periodic"),
    "glow-1d": lambda: small("glow", L=8, m=8, channels=3, dim=1),
    "glow-splines": lambda: small("glow", L=4, m=2, channels=1, transform="spline(bins=3)"),
    "decimation": lambda: small("decimation", L=(8, 4), m=2, channels=1),
    "decimation-1d-open": lambda: small("decimation", L=16, m=4, channels=2, dim=1, boundary="open"),
    "decimation-3d": lambda: small("decimation", L=4, m=2, channels=1, dim=3, norm=False),
    "decimation-channels": lambda: small("decimation", L=4, m=2, channels=3, transform="affine"),
    "decimation-frames": lambda: framed(L=(8, 4), channels=2, frames=True),
    "decimation-frames-1d-open": lambda: framed(L=16, channels=3, dim=1, frames=True, boundary="open"),
    "decimation-frames-shared": lambda: framed(L=8, channels=2, frames=True, share_levels=True),
    "wavelet": lambda: small("wavelet", L=8, m=4, channels=1),
    "wavelet-periodic": lambda: small("wavelet", L=(4, 8), m=2, channels=2, boundary="periodic"),
    "wavelet-1d": lambda: small("wavelet", L=16, m=4, channels=1, dim=1, norm=False),
    "wavelet-spline": lambda: small("wavelet", L=4, m=2, channels=1, transform="spline(bins=2)"),
    "wavelet-3d": lambda: small("wavelet", L=4, m=2, channels=1, dim=3),
}  # fmt: skip

ONE_EACH = {name.partition("-")[0]: name for name in reversed(MODELS)}
"""The first entry of each registered model."""

CONDITIONAL = {
    "rgflow": lambda: rgflow(L=8, channels=1, context=3),
    "rgflow-per-pixel": lambda: rgflow(L=8, m=2, channels=1, context=(2, 8, 8), boundary="open"),
    "rgflow-details": lambda: rgflow(L=8, m=2, channels=1, context=(2, 8, 8), details=1, learnt_prior=(3,)),
    "rgflow-classes": lambda: rgflow(L=4, channels=1, classes=5),
    "rgflow-asinh-behind": lambda: rgflow(L=4, channels=1, context=2, bijector=asinh_behind),
    "realnvp-per-pixel": lambda: realnvp(L=8, m=4, channels=1, context=(2, 8, 8)),
    "neuralrg": lambda: small("neuralrg", L=4, context=2),
    "tree": lambda: small("tree", L=8, channels=1, context=2),
    "ternary": lambda: small("ternary", L=9, channels=1, context=(2, 9, 9)),
    "tebd": lambda: small("tebd", L=8, channels=1, depth=1, context=2),
    "branching": lambda: small("branching", L=8, channels=1, context=(1, 8, 8)),
    "glow": lambda: small("glow", L=8, channels=1, classes=3, context=2),
    "glow-per-pixel": lambda: small("glow", L=8, channels=1, context=(2, 8, 8), boundary="periodic"),
    "decimation": lambda: small("decimation", L=8, channels=1, context=2),
    "decimation-frames": lambda: framed(L=8, channels=1, frames=True, context=2),
    "wavelet": lambda: small("wavelet", L=8, channels=1, context=2),
    "wavelet-per-pixel": lambda: small("wavelet", L=16, m=4, channels=1, dim=1, context=(2, 16)),
}  # fmt: skip


def asinh_behind(shape, context_shape=None):
    """A bijector without context behind one with."""
    coupling = named("coupling", {"layers": 1, "hidden": (4,)})(shape, context_shape)
    return Chain([coupling, Asinh(shape)])


def batch(flow, n=2):
    return 0.7 * torch.randn(n, *flow.plan.input.event_shape, dtype=torch.float64)


def contexts(flow, n=2):
    if flow.context_encoder.classes is not None:
        return torch.arange(n) * 2 % flow.context_encoder.classes
    return torch.randn(n, *flow.plan.context, dtype=torch.float64)


PICKLED = [name for name in MODELS if name != "rgflow-leaky"]
"""A lambda in a layout cannot be pickled, as everywhere in Python."""
