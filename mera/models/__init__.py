"""Models by name: `mera.build` and what it can build."""

from mera.models.authors import load_rgflow_checkpoint
from mera.models.real_nvp import realnvp
from mera.models.registry import build, builder, names, presets, register
from mera.models.rg_flow import rgflow

__all__ = ["build", "builder", "load_rgflow_checkpoint", "names", "presets", "realnvp", "register", "rgflow"]
