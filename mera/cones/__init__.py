"""A flow in part: causal cones, evaluation within a cone, windows of images of any size."""

from mera.cones.cone import Cone, generation_cone, inference_cone
from mera.cones.regions import Region, Site, Span, parse_region, sites_of
from mera.cones.restriction import Restriction
from mera.cones.window import window

__all__ = [
    "Cone",
    "Region",
    "Restriction",
    "Site",
    "Span",
    "generation_cone",
    "inference_cone",
    "parse_region",
    "sites_of",
    "window",
]
