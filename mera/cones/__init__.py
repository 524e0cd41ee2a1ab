"""A flow in part: causal cones, evaluation within a cone, windows and streams of images of any size."""

from mera.cones.cone import Cone, generation_cone, inference_cone
from mera.cones.regions import Region, Site, Span, sites_of
from mera.cones.restriction import Restriction
from mera.cones.stream import stream
from mera.cones.streamed import Streamed
from mera.cones.window import window

__all__ = [
    "Cone",
    "Region",
    "Restriction",
    "Site",
    "Span",
    "Streamed",
    "generation_cone",
    "inference_cone",
    "sites_of",
    "stream",
    "window",
]
