"""Models by name: `mera.build` and what it can build."""

from mera.models.realnvp import realnvp
from mera.models.registry import Recipe, build, builder, names, register
from mera.models.rgflow import rgflow

__all__ = ["Recipe", "build", "builder", "names", "realnvp", "register", "rgflow"]
