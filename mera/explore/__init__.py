"""The explorer: an interactive local web page for a flow."""

from mera.explore.server import Explorer

__all__ = ["Explorer"]
