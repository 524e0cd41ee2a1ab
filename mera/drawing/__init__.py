"""Pictures of layouts and of cones in them."""

from mera.drawing.cones import level_masks, side_view
from mera.drawing.layouts import draw_layout

__all__ = ["draw_layout", "level_masks", "side_view"]
