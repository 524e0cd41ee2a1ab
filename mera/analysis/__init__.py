"""What a flow has learnt: receptive fields, traversals, mixing, and where the model pays."""

from mera.analysis.decompose import Parts, decompose
from mera.analysis.edit import combine, mix, project, subtree, traverse
from mera.analysis.latents import Latent
from mera.analysis.receptive import Extent, extents, leading, receptive_fields, strengths

__all__ = [
    "Extent",
    "Latent",
    "Parts",
    "combine",
    "decompose",
    "extents",
    "leading",
    "mix",
    "project",
    "receptive_fields",
    "strengths",
    "subtree",
    "traverse",
]
