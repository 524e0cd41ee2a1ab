"""Hierarchical normalizing flows: RG-Flow, Real NVP, Glow, trees, MERAs, and layouts of your own.

`mera.build` makes a flow by name. `mera.Layout` declares a layout of your own, and `mera.Flow` makes a flow of it.
`mera.train`, `mera.data` and `mera.drawing` are imported when they are first used.
"""

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

_LAZY = ("data", "drawing", "train")
"""Subpackages with large dependencies, which are imported when they are first used."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY, "__version__"})
