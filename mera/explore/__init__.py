"""The explorer: a local page for a browser on which a flow can be seen and touched."""

from mera.explore.server import Explorer

__all__ = ["Explorer"]
