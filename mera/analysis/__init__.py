"""What a flow has learnt: receptive fields, traversals, mixing, where the model pays, and which factors it knows."""

from mera.analysis.decompose import Parts, decompose
from mera.analysis.edit import combine, mix, project, subtree, traverse
from mera.analysis.factors import FactorTable, factors
from mera.analysis.latents import Latent
from mera.analysis.receptive import Extent, extents, leading, receptive_fields, strengths

__all__ = [
    "Extent",
    "FactorTable",
    "Latent",
    "Parts",
    "combine",
    "decompose",
    "extents",
    "factors",
    "leading",
    "mix",
    "project",
    "receptive_fields",
    "strengths",
    "subtree",
    "traverse",
]
