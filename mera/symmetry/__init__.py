"""Finite groups of symmetries of a lattice, and mixtures of a flow over them."""

from mera.symmetry.groups import symmetries
from mera.symmetry.mixture import Symmetrized

__all__ = ["Symmetrized", "symmetries"]
