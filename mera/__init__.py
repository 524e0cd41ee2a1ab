"""Hierarchical normalizing flows: layouts compiled to einops plans, RG-Flow, Real NVP, and your own."""

from mera import bijectors, graph, models
from mera.bijectors.conditioner import fixed_weights
from mera.distribution import FlowDistribution
from mera.flow import Flow
from mera.graph import Layout, LayoutError
from mera.io import load, save
from mera.layout_file import load_layout, save_layout
from mera.models import build, load_rgflow_checkpoint
from mera.priors import Prior
from mera.symmetry import Symmetrized

__version__ = "0.1.0"

__all__ = [
    "Flow",
    "FlowDistribution",
    "Layout",
    "LayoutError",
    "Prior",
    "Symmetrized",
    "bijectors",
    "build",
    "fixed_weights",
    "graph",
    "load",
    "load_layout",
    "load_rgflow_checkpoint",
    "models",
    "save",
    "save_layout",
]
