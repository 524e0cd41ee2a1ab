"""Hierarchical normalizing flows: RG-Flow, Real NVP, Glow, trees, MERAs, and layouts of your own.

`mera.build` makes a flow by name. `mera.Layout` declares a layout of your own, and `mera.Flow` makes a flow from it.
Names are imported on first use, so that `import mera` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mera._utils.errors import closest
from mera._utils.installation import VERSION

if TYPE_CHECKING:
    from mera import analysis as analysis
    from mera import bijectors as bijectors
    from mera import cones as cones
    from mera import data as data
    from mera import drawing as drawing
    from mera import flow as flow
    from mera import graph as graph
    from mera import inpaint as inpaint
    from mera import models as models
    from mera import physics as physics
    from mera import train as train
    from mera._utils.installation import tune_allocator as tune_allocator
    from mera.analysis.laws import check as check
    from mera.bijectors.prior import Prior as Prior
    from mera.drawing.images import show as show
    from mera.flow import Flow as Flow
    from mera.flow import FlowDistribution as FlowDistribution
    from mera.flow import Symmetrized as Symmetrized
    from mera.graph import Layout as Layout
    from mera.graph import LayoutError as LayoutError
    from mera.models import build as build
    from mera.models import load_rgflow_checkpoint as load_rgflow_checkpoint
    from mera.models.saving import load as load
    from mera.models.saving import load_layout as load_layout
    from mera.models.saving import load_pretrained as load_pretrained
    from mera.models.saving import save as save
    from mera.models.saving import save_layout as save_layout

__version__ = VERSION

_PACKAGES = [
    "analysis",
    "bijectors",
    "cones",
    "data",
    "drawing",
    "flow",
    "graph",
    "inpaint",
    "models",
    "physics",
    "train",
]
_HOMES = {
    "_utils.installation": ["tune_allocator"],
    "drawing.images": ["show"],
    "analysis.laws": ["check"],
    "bijectors.prior": ["Prior"],
    "flow": ["Flow", "FlowDistribution", "Symmetrized"],
    "graph": ["Layout", "LayoutError"],
    "models": ["build", "load_rgflow_checkpoint"],
    "models.saving": ["load", "load_layout", "load_pretrained", "save", "save_layout"],
}
"""The names that each module gives to this package."""
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_PACKAGES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{closest(name, __all__)}")
    if name not in _MODULES:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
