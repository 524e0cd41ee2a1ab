"""Pictures of causal cones, and an HTML page, one file without a server, that shows all cones of a layout."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from importlib.resources import files

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera.cones import Cone
from mera.cones.cone import all_generation_cones, all_inference_cones
from mera.drawing.figures import Picture, check_dimension, panels, visible_sites
from mera.drawing.layouts import Row, draw_side
from mera.graph import Lattice, Layout, Plan, compile

MAX_SITES = 128
"""The largest number of sites of an edge that a picture shows."""
OUTSIDE, OUTSIDE_MARKER = "0.85", "0.6"
MAX_PIXELS = 64 * 64
"""The largest number of pixels of a lattice on a page, which contains the cone of every pixel."""


def side_view(cone: Cone, colour: str = "tab:blue", dimension: int = -1) -> Picture:
    """Draw the network from the side with a cone filled in (paper, Fig. 2c, d).

    Dots at the bottom are data, each row of boxes is a bijector, and crosses are latents where they leave. A box or a
    site is filled if any variable in it is in the cone, at any position along the other dimensions. Of an edge longer
    than 128 sites, the picture shows a part around the cone, and says which part.

    Args:
        cone: an inference cone or a generation cone.
        colour: the colour of the cone; the paper draws inference cones in blue and generation cones in red.
        dimension: the dimension of the lattice that is drawn from left to right.
    """
    plan = cone.plan
    d = check_dimension(dimension, plan.input)
    coordinates = _coordinates(_sites(cone, 0, plan.input), plan.input.shape, d)
    view = visible_sites(_middle(coordinates), plan.input.shape[d], MAX_SITES)

    def colours(row: Row, places: Sequence[int]) -> list[str]:
        if row.step is None:
            reached, shape, outside = _sites(cone, row.value, row.lattice), row.lattice.shape, OUTSIDE_MARKER
        else:
            tiling = row.step.apply.cell_tiling
            changed = torch.cat([cone.reached[row.value], cone.reached[row.step.targets[0]]])
            boxes, _, is_in_box = tiling.locate(changed)
            reached, shape, outside = boxes[is_in_box], tiling.counts, OUTSIDE
        filled = set(_coordinates(reached, shape, d).tolist())
        return [colour if place in filled else outside for place in places]

    boxes = {"in the cone": colour, "outside": OUTSIDE}
    title = f"in the cone: {len(cone.reached[0]):,} of {plan.input.variables:,} data, {cone.count:,} latents"
    return draw_side(plan, d, view, colours, boxes, (OUTSIDE_MARKER, OUTSIDE_MARKER), title)


def level_masks(cone: Cone, colour: str = "tab:blue") -> Picture:
    """Draw the data and each level of latents from above, with a cone filled in.

    Of an edge longer than 128 sites, a panel shows a part around the cone; ticks say which part, and a line below the
    panel says how many sites of the cone lie elsewhere.

    Args:
        cone: an inference cone or a generation cone, on a lattice of 2 dimensions.
        colour: the colour of the cone.
    """
    plan = cone.plan
    if plan.input.dim != 2:
        raise InputError("a lattice of 2 dimensions to draw from above", str(plan.input.dim))
    levels = [("data", 0, plan.input)]
    levels += [(f"z{h}", latent.value, latent.lattice) for h, latent in enumerate(plan.latents)]
    figure, panels_of_levels = panels(len(levels), 6, 2, 2.3)
    for axes, (name, value, lattice) in zip(panels_of_levels, levels, strict=True):
        sites = _sites(cone, value, lattice)
        y, x = sites // lattice.shape[1], sites % lattice.shape[1]
        rows, columns = (visible_sites(_middle(c), n, MAX_SITES) for c, n in zip((y, x), lattice.shape, strict=True))
        is_visible = (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
        mask = torch.zeros(len(rows), len(columns))
        mask[y[is_visible] - rows.start, x[is_visible] - columns.start] = 1
        extent = (columns.start, columns.stop, rows.stop, rows.start)
        axes.imshow(mask.numpy(), cmap=ListedColormap([OUTSIDE, colour]), vmin=0, vmax=1, extent=extent)
        axes.set_title(f"{name}: {lattice}", fontsize=8)
        axes.tick_params(labelsize=6)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        if elsewhere := len(sites) - int(is_visible.sum()):
            axes.set_xlabel(f"{elsewhere:,} more {'site' if elsewhere == 1 else 'sites'} elsewhere", fontsize=7)
    return figure


def _sites(cone: Cone, value: int, lattice: Lattice) -> Tensor:
    """The flat indices of the sites of a value that are in a cone, counted row by row."""
    return (cone.reached[value] // lattice.channels).unique()


def _coordinates(indices: Tensor, shape: tuple[int, ...], d: int) -> Tensor:
    """The distinct coordinates in dimension `d` of flat indices that count row by row."""
    return (indices // math.prod(shape[d + 1 :]) % shape[d]).unique()


def _middle(coordinates: Tensor) -> int:
    """The median of coordinates, which is one of them even if they wrap around a periodic border; 0 if empty."""
    return int(coordinates.median()) if len(coordinates) else 0


def cone_page(layout: Layout | Plan, title: str = "a layout", console: Console | None = None) -> str:
    """Make an HTML page that highlights the latents that depend on a pixel, and the pixels that depend on a latent.

    Args:
        layout: a layout, or a plan such as `flow.plan`, of one or two dimensions and at most 4,096 pixels.
        title: the name of the layout on the page.
        console: where progress is shown; None shows it on terminals and in notebooks only.

    Raises:
        ValueError: if the lattice has three dimensions, or more than 4,096 pixels.

    >>> import mera
    >>> page = cone_page(mera.build("tree", L=8, m=2, hidden=(4,)).plan, "a tree")
    >>> "Causal cones" in page
    True
    """
    plan = layout if isinstance(layout, Plan) else compile(layout)
    if plan.input.dim > 2 or plan.input.sites > MAX_PIXELS:
        raise InputError(f"a lattice of one or two dimensions with at most {MAX_PIXELS:,} pixels", str(plan.input))
    total = plan.input.sites + sum(latent.lattice.sites for latent in plan.latents)
    with ProgressBar("cones", check_console(console), "cone") as bar:
        inference = _packed(all_inference_cones(plan), bar, 0, total)
        generation = _packed(all_generation_cones(plan), bar, plan.input.sites, total)
    content = {
        "title": title,
        "shape": plan.input.shape,
        "channels": plan.input.channels,
        "levels": [
            {"name": f"z{h}", "shape": latent.lattice.shape, "channels": latent.lattice.channels}
            for h, latent in enumerate(plan.latents)
        ],
        "inference": inference,
        "generation": generation,
    }
    page = files("mera.drawing").joinpath("cone_page.html").read_text(encoding="utf-8")
    text = json.dumps(content).replace("<", "\\u003c")  # "</script>" in the title would end the script
    return page.replace("/*CONES*/null", text)


def _packed(chunks: Iterable[Tensor], bar: ProgressBar, done: int, total: int) -> str:
    """Encode the bool rows of all chunks as base64 text of packed bits, each row from a new byte on, and show progress.

    `done` of `total` rows were computed before.
    """
    rows: list[np.ndarray] = []
    for chunk in chunks:
        rows.extend(np.packbits(chunk.numpy(), axis=1))
        bar.update(done + len(rows), (done + len(rows)) / total)
    return b64encode(np.stack(rows).tobytes()).decode("ascii")
