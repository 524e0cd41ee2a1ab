"""Flows and layouts in files."""

from mera.io.flows import describe, load, rebuild, rebuild_empty, save

__all__ = ["describe", "load", "rebuild", "rebuild_empty", "save"]
