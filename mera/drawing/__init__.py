"""Pictures of layouts and cones; `images` has those of images, `curves` those of training, `draw` those of objects."""

from mera.drawing.cones import cone_page, level_masks, side_view
from mera.drawing.layouts import draw_layout

__all__ = ["cone_page", "draw_layout", "level_masks", "side_view"]
