"""Bijectors, and what couplings are made of."""

from mera.bijectors.actnorm import ActNorm
from mera.bijectors.base import Bijector, zero_log_det
from mera.bijectors.compose import Chain, Invert
from mera.bijectors.conditioners import PatchMLPs, ResidualConv, ResidualMLP, SeparateMLPs
from mera.bijectors.coupling import Coupling
from mera.bijectors.elementwise import Additive, Affine, Elementwise
from mera.bijectors.image import Dequantize, Logit, with_noise
from mera.bijectors.partition import ChannelHalves, Gather, Masked, Partition, checkerboard

__all__ = [
    "ActNorm",
    "Additive",
    "Affine",
    "Bijector",
    "Chain",
    "ChannelHalves",
    "Coupling",
    "Dequantize",
    "Elementwise",
    "Gather",
    "Invert",
    "Logit",
    "Masked",
    "Partition",
    "PatchMLPs",
    "ResidualConv",
    "ResidualMLP",
    "SeparateMLPs",
    "checkerboard",
    "with_noise",
    "zero_log_det",
]
