"""Analysis of trained flows: receptive fields, traversals, mixing, bits per level, latent statistics and factors."""

from mera.analysis.decompose import Parts, decompose
from mera.analysis.edit import combine, mix, subtree, traverse
from mera.analysis.factors import FactorTable, factors
from mera.analysis.latents import LatentIndex
from mera.analysis.mixing import MixingTable, mixing
from mera.analysis.receptive import Extent, extents, receptive_fields
from mera.analysis.statistics import LatentStatistics, statistics
from mera.analysis.strengths import Strengths, leading, strengths

__all__ = [
    "Extent",
    "FactorTable",
    "LatentIndex",
    "LatentStatistics",
    "MixingTable",
    "Parts",
    "Strengths",
    "combine",
    "decompose",
    "extents",
    "factors",
    "leading",
    "mix",
    "mixing",
    "receptive_fields",
    "statistics",
    "strengths",
    "subtree",
    "traverse",
]
