"""Finite groups of symmetries of a lattice, and mixtures of a flow over them."""

from mera.symmetry.groups import Group, Symmetry, register, symmetries
from mera.symmetry.mixture import Symmetrized

__all__ = ["Group", "Symmetrized", "Symmetry", "register", "symmetries"]
