"""Pictures of layouts and cones, of images (`mera.drawing.images`) and of training (`mera.drawing.curves`)."""

from mera.drawing.cone_page import cone_page
from mera.drawing.cones import level_masks, side_view
from mera.drawing.layouts import draw_layout

__all__ = ["cone_page", "draw_layout", "level_masks", "side_view"]
