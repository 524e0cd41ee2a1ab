"""Files of flows (`mera.save`, `mera.load`) and of layouts (`mera.save_layout`, `mera.load_layout`)."""

from mera.io.flows import describe_flow, load, rebuild, rebuild_empty, save

__all__ = ["describe_flow", "load", "rebuild", "rebuild_empty", "save"]
