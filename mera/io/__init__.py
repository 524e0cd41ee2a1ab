"""Flows and layouts in files."""

from mera.io.flows import describe_flow, load, rebuild, rebuild_empty, save

__all__ = ["describe_flow", "load", "rebuild", "rebuild_empty", "save"]
