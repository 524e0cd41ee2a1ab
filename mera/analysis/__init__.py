"""Analysis of trained flows: receptive fields, traversals, mixing, bits per level and factors."""

from mera.analysis.classify import Classes, classify
from mera.analysis.decompose import Parts, decompose
from mera.analysis.factors import FactorTable, factors
from mera.analysis.latents import LatentIndex, mix, traverse
from mera.analysis.pictures import PictureMap, map_picture, mix_pictures, refine_picture
from mera.analysis.receptive import Strengths, leading, receptive_fields, strengths
from mera.analysis.surprises import Surprise, Surprises, find_surprises

__all__ = [
    "Classes",
    "FactorTable",
    "LatentIndex",
    "Parts",
    "PictureMap",
    "Strengths",
    "Surprise",
    "Surprises",
    "classify",
    "decompose",
    "factors",
    "find_surprises",
    "leading",
    "map_picture",
    "mix",
    "mix_pictures",
    "receptive_fields",
    "refine_picture",
    "strengths",
    "traverse",
]
