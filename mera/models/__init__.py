"""Models by name: `mera.build` and what it can build."""

from mera.models.authors import load_rgflow_checkpoint
from mera.models.realnvp import realnvp
from mera.models.registry import build, builder, names, register
from mera.models.rgflow import rgflow

__all__ = ["build", "builder", "load_rgflow_checkpoint", "names", "realnvp", "register", "rgflow"]
