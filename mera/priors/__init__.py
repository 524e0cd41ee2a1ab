"""Densities of latents: factorised priors, at any temperature."""

from mera.priors.prior import Prior, PriorLike, as_distribution, temperature_per_level, to_description

__all__ = ["Prior", "PriorLike", "as_distribution", "temperature_per_level", "to_description"]
