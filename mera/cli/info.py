"""The command `mera info`: the plan and the parameters of a model, a run, a file, or a layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mera import models
from mera.cli.common import LAYOUT_HELP, Json, check_source, flow_of, model_commands, model_options, show
from mera.cli.lazy import OPTIONS, lazy_group
from mera.cli.options import signature_options, with_options
from mera.cli.sources import SOURCE_HELP, load_flow
from mera.flow import Flow
from mera.graph.summary import count_parameters
from mera.io.layouts import load_layout

__all__ = ["app"]

Picture = Annotated[
    Path | None,
    typer.Option(help="Draw the layout, and write this PNG.", metavar="FILE", rich_help_panel="Output"),
]


def _output(picture: Picture = None, as_json: Json = False) -> None:
    """A function whose signature declares the options of all forms of the command."""


def _info_of_model(model: str, picture: Path | None, as_json: bool, **values: Any) -> None:
    """The command `mera info MODEL`."""
    _show(models.build(model, **model_options(model, values)), picture, as_json, model)


def _info_of_path(
    path: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Show the plan and the parameters of the flow of a run, or of a file."""
    _show(load_flow(path), picture, as_json, path.stem)


def _show(flow: Flow, picture: Path | None, as_json: bool, title: str) -> None:
    """Print a flow and its plan; draw its layout from the side and, in one or two dimensions, from above."""
    summary, plan = flow.summary, flow.plan
    if as_json:
        levels = [
            {"level": h, "channels": latent.lattice.channels, "shape": latent.lattice.shape}
            for h, latent in enumerate(plan.latents)
        ]
        show(json.dumps({
            "model": None if flow.recipe is None else flow.recipe.model,
            "parameters": count_parameters(flow),
            "variables": plan.input.variables,
            "channels": plan.input.channels,
            "shape": plan.input.shape,
            "levels": levels,
        }))  # fmt: skip
    else:
        show(summary.title, "", summary.nodes, "", summary.levels, "", plan.table, plan.legend)
    if picture is None:
        return
    from mera.drawing import draw_layout
    from mera.drawing.images import png_path, save_figure

    picture = png_path(picture)
    views = {"side": picture} | ({"above": picture.with_stem(f"{picture.stem}_above")} if plan.input.dim < 3 else {})
    for view, path in views.items():
        save_figure(draw_layout(flow.layout, view, title=title), path)
    if not as_json:
        show(f"pictures: {', '.join(map(str, views.values()))}")


_commands = model_commands(_info_of_model, after=signature_options(_output))
app = typer.Typer(cls=lazy_group(_commands, with_options(_info_of_path, signature_options(_info_of_path))), **OPTIONS)


@app.callback(invoke_without_command=True)
def _info(
    context: typer.Context,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Show the plan and the parameters of a model, a run, a file of a flow, or a layout of your own."""
    check_source(context, layout)
    if layout is not None:
        _show(flow_of(layout, load_layout(layout)), picture, as_json, layout.stem)
