"""Pictures: of layouts and cones, of images (`mera.drawing.images`) and of training (`mera.drawing.curves`)."""

from mera.drawing.cones import level_masks, side_view
from mera.drawing.layouts import draw_layout

__all__ = ["draw_layout", "level_masks", "side_view"]
