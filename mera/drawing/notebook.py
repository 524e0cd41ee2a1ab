"""Pictures of results for notebooks."""

from __future__ import annotations

from functools import singledispatch

from mera.cones import Cone
from mera.drawing.cones import level_masks, side_view
from mera.drawing.images import inpainted
from mera.drawing.layouts import draw_layout
from mera.drawing.physics import chain_figure, correlation_figure, report_figure
from mera.graph import Layout, LayoutError
from mera.inpaint import Inpainting
from mera.physics import CorrelationLength, MarkovChains, Report

MOST_PICTURES = 11
"""The largest number of images of an inpainting that are shown."""


@singledispatch
def picture_of(result: object) -> bytes | None:
    """The picture of a layout, a cone, an inpainting or measurements as a PNG; None for other results."""
    return None


@picture_of.register
def _(layout: Layout) -> bytes | None:
    """The layout from the side; None if it is not complete yet."""
    try:
        return draw_layout(layout)._repr_png_()
    except LayoutError:
        return None


@picture_of.register
def _(cone: Cone) -> bytes | None:
    """The levels from above, or the network from the side if the lattice does not have two dimensions."""
    return (level_masks(cone) if cone.plan.input.dim == 2 else side_view(cone))._repr_png_()


@picture_of.register
def _(report: Report) -> bytes | None:
    """The weights and the two-point function."""
    return report_figure(report)._repr_png_()


@picture_of.register
def _(chain: MarkovChains) -> bytes | None:
    """The histories of observables, and the two-point function."""
    return chain_figure(chain)._repr_png_()


@picture_of.register
def _(found: CorrelationLength) -> bytes | None:
    """The two-point function of slices with its fit, and effective masses."""
    return correlation_figure(found)._repr_png_()


@picture_of.register
def _(result: Inpainting) -> bytes | None:
    """The image, the mask, the likeliest filling and samples; None if the data are not images."""
    if result.pictures is None or result.mask is None:
        return None
    pictures = dict(list(result.pictures.items())[:MOST_PICTURES])
    return inpainted(pictures, result.mask, str(result.convergence or ""))._repr_png_()
