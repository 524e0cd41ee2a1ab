"""Hierarchical normalizing flows: layouts compiled to einops plans, RG-Flow, Real NVP, and your own."""

from importlib import import_module
from typing import Any

from mera import bijectors, graph, models
from mera._utils.allocator import tune_allocator
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.distribution import FlowDistribution, Symmetrized
from mera.flow import Flow
from mera.graph import Layout, LayoutError
from mera.io.flows import load, save
from mera.io.layouts import load_layout, save_layout
from mera.models import build, load_rgflow_checkpoint
from mera.priors import Prior

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
    "tune_allocator",
]

_LATER = ("data", "drawing", "train")
"""Modules that load much else: they are imported when somebody names them."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER, "__version__"})
