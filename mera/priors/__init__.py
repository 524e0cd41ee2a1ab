"""Factorised priors of the latents, at any temperature."""

from mera.names.flow_options import PriorLike
from mera.priors.prior import Prior, temperature_per_level

__all__ = ["Prior", "PriorLike", "temperature_per_level"]
