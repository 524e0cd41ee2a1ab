"""The command `mera info`: the plan and the parameters of a model, a run, a file, or a layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mera.cli.flow_app import FlowSource, flow_app
from mera.cli.output import Json, show, show_json
from mera.graph.summary import count_parameters

Picture = Annotated[Path | None, typer.Option(help="Draw the layout, and write this PNG.", metavar="FILE")]


def _info(source: FlowSource, picture: Picture = None, as_json: Json = False) -> None:
    """Show the plan and the parameters of a model, a run, a file of a flow, or a layout of your own."""
    flow = source.make()
    summary, plan = flow.summary, flow.plan
    if as_json:
        levels = [
            {"level": h, "channels": latent.lattice.channels, "shape": latent.lattice.shape}
            for h, latent in enumerate(plan.latents)
        ]
        show_json({
            "model": None if flow.recipe is None else flow.recipe.model,
            "parameters": count_parameters(flow),
            "variables": plan.input.variables,
            "channels": plan.input.channels,
            "shape": plan.input.shape,
            "levels": levels,
        })  # fmt: skip
    else:
        show(summary.title, "", summary.nodes, "", summary.levels, "", plan.table, plan.legend)
    if picture is None:
        return
    from mera.analysis.drawing import draw_layout
    from mera.analysis.drawing.images import png_path, save_figure

    picture = png_path(picture)
    save_figure(draw_layout(flow.layout, title=source.title), picture)
    if not as_json:
        show(f"picture: {picture}")


command = flow_app(_info)
