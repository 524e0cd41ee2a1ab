"""The command `mera cone`: the latents that pixels can change, or the pixels that latents can change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera.cli.flow_app import FlowSource, flow_app
from mera.cli.output import Json, show, show_json
from mera.cones import Cone, parse_region

Pixels = Annotated[str | None, typer.Option(help="The pixels, a span for each dimension.", metavar="START:STOP[,...]")]
Site = Annotated[str | None, typer.Option(help="The latents at a site, in place of pixels.", metavar="LEVEL:I[,J...]")]
Out = Annotated[Path, typer.Option(help="The PNG to write.", metavar="FILE")]
OUT = Path("cone.png")


def _cone(
    source: FlowSource, region: Pixels = None, latent: Site = None, out: Out = OUT, as_json: Json = False
) -> None:
    """Show which latents some pixels can change, or which pixels some latents can change."""
    if (region is None) == (latent is None):
        raise typer.BadParameter("Pass either --region START:STOP,... or --latent LEVEL:I,J")
    from mera.analysis.drawing import level_masks, side_view
    from mera.analysis.drawing.images import png_path, save_figure

    flow, out = source.make().flow, png_path(out)
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
        show_json(_numbers(cone) | {"pictures": [str(path) for path in pictures]})
    else:
        show(*text, f"pictures: {', '.join(map(str, pictures))}")


def _numbers(cone: Cone) -> dict[str, Any]:
    """The sizes of a cone, for `--json`."""
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
    """Parse the level and the coordinates in a text LEVEL:I,J."""
    try:
        level, site = text.split(":")
        return int(level), [int(i) for i in site.split(",")]
    except ValueError:
        raise InputError("a site such as 2:1,3, LEVEL:I,J", repr(text)) from None


command = flow_app(_cone)
