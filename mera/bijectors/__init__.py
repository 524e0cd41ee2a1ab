"""Bijectors, the parts of couplings, and bijectors by name."""

from mera.bijectors.adapt import adapt
from mera.bijectors.base import Bijector, log_det_dtype, zero_log_det
from mera.bijectors.boxes import Box
from mera.bijectors.by_name import Named, named, names, register
from mera.bijectors.catalogue import register_transform
from mera.bijectors.circular import CircularSpline, wrap
from mera.bijectors.compose import Chain, Invert
from mera.bijectors.conditioners.base import Conditioner, join, joined_shape
from mera.bijectors.conditioners.published import PatchMLPs, SeparateMLPs
from mera.bijectors.conditioners.residual import ResidualConv, ResidualMLP
from mera.bijectors.coupling import Coupling
from mera.bijectors.elementwise import Conditional, Conditioned, Elementwise
from mera.bijectors.frames import AngleFrame, Frame, RadialFrame, VectorFrame
from mera.bijectors.image import ImagePreprocess, with_noise
from mera.bijectors.learnt_noise import LearntNoise
from mera.bijectors.linear import DCT, LULinear
from mera.bijectors.local import LocalBijector
from mera.bijectors.normalization import ActNorm, BlockSpins, Spectral
from mera.bijectors.partition import ChannelHalves, Gather, Masked, Partition, checkerboard
from mera.bijectors.peaks import VonMises
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.turns import Turn
from mera.bijectors.univariate import Affine, Composition, Univariate

__all__ = [
    "DCT",
    "ActNorm",
    "Affine",
    "AngleFrame",
    "Bijector",
    "BlockSpins",
    "Box",
    "Chain",
    "ChannelHalves",
    "CircularSpline",
    "Composition",
    "Conditional",
    "Conditioned",
    "Conditioner",
    "Coupling",
    "Elementwise",
    "Frame",
    "Gather",
    "ImagePreprocess",
    "Invert",
    "LULinear",
    "LearntNoise",
    "LocalBijector",
    "Masked",
    "Named",
    "Partition",
    "PatchMLPs",
    "RadialFrame",
    "RationalQuadratic",
    "ResidualConv",
    "ResidualMLP",
    "SeparateMLPs",
    "Spectral",
    "Turn",
    "Univariate",
    "VectorFrame",
    "VonMises",
    "adapt",
    "checkerboard",
    "join",
    "joined_shape",
    "log_det_dtype",
    "named",
    "names",
    "register",
    "register_transform",
    "with_noise",
    "wrap",
    "zero_log_det",
]
