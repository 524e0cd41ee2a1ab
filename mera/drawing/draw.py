"""The usual picture of each kind of object: what its method `draw` returns, and what notebooks show."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from mera._utils.errors import InputError
from mera.cones import Cone
from mera.data.dataset import DataSplits, first
from mera.drawing.cones import level_masks, side_view
from mera.drawing.images import inpainted, show
from mera.drawing.layouts import draw_layout
from mera.drawing.physics import estimate_figure
from mera.graph import Layout
from mera.inpaint import Inpainting
from mera.physics import Estimate

SHOWN_IMAGES, SHOWN_EXAMPLES = 11, 16
"""The most images of an inpainting, and the most examples of data, that a picture has."""


@singledispatch
def draw(drawn: object) -> Any:
    """Draw a layout, a cone, a measurement, an inpainting or a data set: a figure of matplotlib, or an image of PIL.

    Raises:
        ValueError: if there is nothing to draw.
    """
    raise InputError("an object with a picture", type(drawn).__name__)


draw.register(Layout, draw_layout)
draw.register(Estimate, estimate_figure)


@draw.register
def _(cone: Cone) -> Any:
    """The masks of the levels in two dimensions, else the cone from the side."""
    return level_masks(cone) if cone.plan.input.dim == 2 else side_view(cone)


@draw.register
def _(inpainting: Inpainting) -> Any:
    """The image, the mask, the likeliest filling and samples."""
    if inpainting.pictures is None:
        raise InputError("an inpainting of an image", "one of other data")
    pictures = dict(list(inpainting.pictures.items())[:SHOWN_IMAGES])
    return inpainted(pictures, inpainting.mask, str(inpainting.convergence or ""))


@draw.register
def _(splits: DataSplits) -> Any:
    """The first training examples."""
    examples = first(splits.train, SHOWN_EXAMPLES)
    if examples.ndim != 4 or examples.shape[1] not in (1, 3):
        raise InputError("examples that are images", f"examples of shape {tuple(examples.shape[1:])}")
    return show(examples)
