"""Hierarchical normalizing flows: RG-Flow, Real NVP, Glow, trees, MERAs, and layouts of your own.

`mera.build` makes a flow by name. `mera.Layout` declares a layout of your own, and `mera.Flow` makes a flow from it.
Names are imported on first use, so that `import mera` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mera._utils.errors import closest
from mera._utils.installation import VERSION

if TYPE_CHECKING:
    from mera import analysis, bijectors, cones, data, flow, graph, models, physics, train
    from mera._utils.installation import tune_allocator
    from mera.analysis import drawing
    from mera.analysis.drawing.images import show
    from mera.analysis.laws import check
    from mera.bijectors.prior import Prior
    from mera.flow import Flow, FlowDistribution, Symmetrized
    from mera.graph import Layout, LayoutError
    from mera.models import build, load_rgflow_checkpoint
    from mera.models.saving import load, load_layout, load_pretrained, push, save, save_layout

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
    "flow",
    "graph",
    "inpaint",
    "load",
    "load_layout",
    "load_pretrained",
    "load_rgflow_checkpoint",
    "models",
    "physics",
    "push",
    "save",
    "save_layout",
    "show",
    "train",
    "tune_allocator",
]

_HOMES = {
    "Flow": "flow",
    "FlowDistribution": "flow",
    "Layout": "graph",
    "LayoutError": "graph",
    "Prior": "bijectors.prior",
    "Symmetrized": "flow",
    "build": "models",
    "check": "analysis.laws",
    "load": "models.saving",
    "load_layout": "models.saving",
    "load_pretrained": "models.saving",
    "load_rgflow_checkpoint": "models",
    "push": "models.saving",
    "save": "models.saving",
    "save_layout": "models.saving",
    "show": "analysis.drawing.images",
    "tune_allocator": "_utils.installation",
}
"""The module of each name; all other names are packages."""
_PACKAGES = {"drawing": "analysis.drawing"}
"""The places of packages within others."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{closest(name, __all__)}")
    if name not in _HOMES:
        return import_module(f"{__name__}.{_PACKAGES.get(name, name)}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
