"""Fig. 9 of the paper: the parts of the prior that become the legs of a pinwheel."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mera._utils.random import fixed_seed
from mera.analysis.pinwheel import agreement, pinwheel, sector_of
from mera.drawing.figures import Picture
from mera.flow import Flow

POINTS = 400
COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange")


@torch.no_grad()
def pinwheels(flows: Mapping[str, Flow]) -> Picture:
    """Draw latents, coloured by their quadrant or sector of the plane, and the samples that they become.

    Args:
        flows: flows that have learnt the pinwheel, by the name of the prior; see `mera.train.pinwheel`.
    """
    figure = Picture(figsize=(10, 2.7 * len(flows)), layout="constrained")
    axes = figure.subplots(len(flows), 4, squeeze=False)
    data = pinwheel(POINTS)
    for row, (prior, flow) in zip(axes, flows.items(), strict=True):
        with fixed_seed(0):
            z = flow.sample_latents(POINTS)
        latents, points = z[0].flatten(1).cpu(), flow.inverse(z)[0].flatten(1).cpu()
        shares = agreement(flow)
        is_axes = shares.axes > shares.quadrants
        colours = [COLOURS[sector] for sector in sector_of(latents, is_axes).tolist()]
        parts = "sectors around the axes" if is_axes else "quadrants"
        row[0].scatter(*latents.T.tolist(), s=5, c=colours)
        row[0].set_title(f"{prior} prior, {parts}", fontsize=8)
        row[1].scatter(*points.T.tolist(), s=5, c=colours)
        row[1].set_title(f"samples: {max(shares.axes, shares.quadrants):.2f} on the leg of their part", fontsize=8)
        row[2].bar(["quadrants", "axes"], [shares.quadrants, shares.axes], color="0.6")
        row[2].set_ylim(0, 1)
        row[2].set_title("on the leg of their part", fontsize=8)
        row[3].scatter(*data.T.tolist(), s=5, c="0.3")
        row[3].set_title("data", fontsize=8)
        for panel in (row[0], row[1], row[3]):
            panel.set_aspect("equal")
            panel.set(xlim=(-5, 5), ylim=(-5, 5))
    return figure
