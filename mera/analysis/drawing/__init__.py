"""Pictures: of layouts and cones here, of images in `images`, of training in `curves`, of the paper in `paper`."""

from mera.analysis.drawing.cones import cone_page, level_masks, side_view
from mera.analysis.drawing.layouts import draw_layout

__all__ = ["cone_page", "draw_layout", "level_masks", "side_view"]
