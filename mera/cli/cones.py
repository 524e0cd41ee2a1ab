"""The command `mera cone`: the latents that some pixels can change, or the pixels that latents can change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mera import models
from mera._utils.files import make_folder
from mera.cli.common import PLAIN, add_for_each_model, app, console, model_options
from mera.cli.options import signature_options
from mera.cones import parse_region
from mera.drawing import level_masks, side_view
from mera.drawing.images import png_path, save_figure

__all__ = ["cone_app"]

cone_app = typer.Typer(help="Show causal cones of a model: of pixels, or of latents.", no_args_is_help=True, **PLAIN)
app.add_typer(cone_app, name="cone")

Pixels = Annotated[str | None, typer.Option(help="The pixels, a span for each dimension.", metavar="START:STOP[,...]")]
Site = Annotated[str | None, typer.Option(help="The latents at a site, in place of pixels.", metavar="LEVEL:I[,J...]")]
Out = Annotated[Path, typer.Option(help="The PNG to write.", metavar="FILE")]


def _cone(model: str, region: Pixels = None, latent: Site = None, out: Out = Path("cone.png"), **values: Any) -> None:
    """The command `mera cone MODEL`."""
    if (region is None) == (latent is None):
        raise typer.BadParameter("Expected either --region START:STOP,... or --latent LEVEL:I,J")
    out = png_path(out)
    make_folder(out.parent)
    flow = models.build(model, **model_options(model, values))
    if region is not None:
        cone, colour = flow.inference_cone(parse_region(region)), "tab:blue"
        console.print(f"pixels {region} of {flow.plan.input}\n\n{cone}", markup=False)
    elif latent is not None:
        cone, colour = flow.generation_cone(*_parse_site(latent)), "tab:red"
        console.print(
            f"latents {latent}: {len(cone.reached[0]):,} of {flow.plan.input.variables:,} variables of the data"
        )
    pictures = {out: side_view(cone, colour)}
    if flow.plan.input.dim == 2:
        pictures[out.with_stem(f"{out.stem}_levels")] = level_masks(cone, colour)
    for path, figure in pictures.items():
        save_figure(figure, path)
    console.print(f"pictures: {', '.join(map(str, pictures))}")


def _parse_site(text: str) -> tuple[int, list[int]]:
    """The level and the coordinates in a text LEVEL:I,J."""
    try:
        level, site = text.split(":")
        return int(level), [int(i) for i in site.split(",")]
    except ValueError:
        raise ValueError(f"Expected a site such as 2:1,3, LEVEL:I,J; got {text!r}") from None


add_for_each_model(cone_app, _cone, signature_options(_cone)[1:])
