"""A flow in part: around one image, where some of its pixels change; or a window of an image of any size."""

from mera.local.regions import Region, Site, Span, latents_at, parse_region, sites_of, spans
from mera.local.restriction import Restriction
from mera.local.window import window

__all__ = ["Region", "Restriction", "Site", "Span", "latents_at", "parse_region", "sites_of", "spans", "window"]
