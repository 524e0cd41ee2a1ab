"""What a user calls: flows, their distributions, and mixtures of a flow over symmetries."""

from mera.flow.density import Density, FlowDistribution
from mera.flow.flow import Flow
from mera.flow.groups import Group, Symmetry, register, symmetries
from mera.flow.mixture import Symmetrized

__all__ = ["Density", "Flow", "FlowDistribution", "Group", "Symmetrized", "Symmetry", "register", "symmetries"]
