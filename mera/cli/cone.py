"""The command `mera cone`: the latents that some pixels can change, or the pixels that latents can change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mera import models
from mera._utils.files import make_folder
from mera.cli.common import LAYOUT_HELP, Json, check_source, flow_of, model_commands, model_options, show
from mera.cli.lazy import OPTIONS, lazy_group
from mera.cli.options import signature_options, with_options
from mera.cli.sources import SOURCE_HELP, load_flow
from mera.cones import Cone, parse_region
from mera.flow import Flow
from mera.io.layouts import load_layout

__all__ = ["app"]

Pixels = Annotated[str | None, typer.Option(help="The pixels, a span for each dimension.", metavar="START:STOP[,...]")]
Site = Annotated[str | None, typer.Option(help="The latents at a site, in place of pixels.", metavar="LEVEL:I[,J...]")]
Out = Annotated[Path, typer.Option(help="The PNG to write.", metavar="FILE", rich_help_panel="Output")]
OUT = Path("cone.png")


def _where(region: Pixels = None, latent: Site = None, out: Out = OUT, as_json: Json = False) -> None:
    """A function whose signature declares the options of all forms of the command."""


def _cone_of_model(model: str, region: str | None, latent: str | None, out: Path, as_json: bool, **values: Any) -> None:
    """The command `mera cone MODEL`."""
    _check(region, latent)
    _show(models.build(model, **model_options(model, values)), region, latent, out, as_json)


def _cone_of_path(
    path: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    region: Pixels = None,
    latent: Site = None,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Show causal cones of the flow of a run, or of a file."""
    _check(region, latent)
    _show(load_flow(path), region, latent, out, as_json)


def _check(region: str | None, latent: str | None) -> None:
    """Refuse both pixels and latents, or neither."""
    if (region is None) == (latent is None):
        raise typer.BadParameter("Expected either --region START:STOP,... or --latent LEVEL:I,J")


def _show(flow: Flow, region: str | None, latent: str | None, out: Path, as_json: bool) -> None:
    """Print and draw the inference cone of pixels, or the generation cone of latents."""
    from mera.drawing import level_masks, side_view
    from mera.drawing.images import png_path, save_figure

    out = png_path(out)
    make_folder(out.parent)
    if region is not None:
        cone, colour = flow.inference_cone(parse_region(region)), "tab:blue"
        text: list[Any] = [f"pixels {region} of {flow.plan.input}\n", cone.table, cone.legend]
    else:
        cone, colour = flow.generation_cone(*_parse_site(latent or "")), "tab:red"
        text = [f"latents {latent}: {len(cone.reached[0]):,} of {flow.plan.input.variables:,} variables of the data"]
    pictures = {out: side_view(cone, colour)}
    if flow.plan.input.dim == 2:
        pictures[out.with_stem(f"{out.stem}_levels")] = level_masks(cone, colour)
    for path, figure in pictures.items():
        save_figure(figure, path)
    if as_json:
        show(json.dumps(_numbers(cone) | {"pictures": [str(path) for path in pictures]}))
    else:
        show(*text, f"pictures: {', '.join(map(str, pictures))}")


def _numbers(cone: Cone) -> dict[str, Any]:
    """What a script would want to know of a cone."""
    return {
        "data": len(cone.reached[0]),
        "latents": cone.count,
        "fraction": cone.fraction,
        "levels": [
            {"level": h, "latents": count, "of": latent.lattice.variables}
            for h, (count, latent) in enumerate(zip(cone.counts, cone.plan.latents, strict=True))
        ],
    }


def _parse_site(text: str) -> tuple[int, list[int]]:
    """The level and the coordinates in a text LEVEL:I,J."""
    try:
        level, site = text.split(":")
        return int(level), [int(i) for i in site.split(",")]
    except ValueError:
        raise ValueError(f"Expected a site such as 2:1,3, LEVEL:I,J; got {text!r}") from None


_commands = model_commands(_cone_of_model, signature_options(_where))
app = typer.Typer(cls=lazy_group(_commands, with_options(_cone_of_path, signature_options(_cone_of_path))), **OPTIONS)


@app.callback(invoke_without_command=True)
def _cone(
    context: typer.Context,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
    region: Pixels = None,
    latent: Site = None,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Show which latents some pixels can change, or which pixels some latents can change."""
    check_source(context, layout)
    if layout is not None:
        _check(region, latent)
        _show(flow_of(layout, load_layout(layout)), region, latent, out, as_json)
