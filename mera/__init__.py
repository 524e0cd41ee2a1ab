"""Hierarchical normalizing flows: RG-Flow, Real NVP, Glow, trees, MERAs, and layouts of your own.

`mera.build` makes a flow by name. `mera.Layout` declares a layout of your own, and `mera.Flow` makes a flow from it.
Names are imported on first use, so that `import mera` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mera._utils.errors import closest
from mera._utils.version import VERSION

if TYPE_CHECKING:
    from mera import analysis, bijectors, cones, data, drawing, graph, models, physics, train
    from mera._utils.allocator import tune_allocator
    from mera.distribution import FlowDistribution
    from mera.drawing.images import show
    from mera.flow import Flow
    from mera.graph import Layout, LayoutError
    from mera.io.flows import load, load_pretrained, save
    from mera.io.layouts import load_layout, save_layout
    from mera.laws import check
    from mera.models import build, load_rgflow_checkpoint
    from mera.priors import Prior
    from mera.symmetry.mixture import Symmetrized

__version__ = VERSION

__all__ = [
    "Flow",
    "FlowDistribution",
    "Layout",
    "LayoutError",
    "Prior",
    "Symmetrized",
    "analysis",
    "bijectors",
    "build",
    "check",
    "cones",
    "data",
    "drawing",
    "graph",
    "inpaint",
    "load",
    "load_layout",
    "load_pretrained",
    "load_rgflow_checkpoint",
    "models",
    "physics",
    "save",
    "save_layout",
    "show",
    "train",
    "tune_allocator",
]

_HOMES = {
    "Flow": "flow",
    "FlowDistribution": "distribution",
    "Layout": "graph",
    "LayoutError": "graph",
    "Prior": "priors",
    "Symmetrized": "symmetry",
    "build": "models",
    "check": "laws",
    "load": "io.flows",
    "load_layout": "io.layouts",
    "load_pretrained": "io.flows",
    "load_rgflow_checkpoint": "models",
    "save": "io.flows",
    "save_layout": "io.layouts",
    "show": "drawing.images",
    "tune_allocator": "_utils.allocator",
}
"""The module of each name; all other names are packages."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{closest(name, __all__)}")
    if name not in _HOMES:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
