"""Pictures of layouts and of cones in them."""

from mera.drawing.cones import level_masks, side_view
from mera.drawing.layouts import draw

__all__ = ["draw", "level_masks", "side_view"]
