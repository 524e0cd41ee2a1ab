"""Flows, their distributions, and mixtures of a flow over symmetries."""

from mera.flow.density import Density
from mera.flow.distribution import FlowDistribution, kl_divergence
from mera.flow.flow import Flow
from mera.flow.mixture import Symmetrized, Symmetry, symmetries

__all__ = ["Density", "Flow", "FlowDistribution", "Symmetrized", "Symmetry", "kl_divergence", "symmetries"]
