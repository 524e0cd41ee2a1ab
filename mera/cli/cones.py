"""`mera cone`: which latents some pixels can change, or which pixels a latent can."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mera import models
from mera.cli.commands import PLAIN, app, console, given, preset_option
from mera.cli.options import options_of, with_options
from mera.drawing import level_masks, side_view
from mera.local import parse_region
from mera.pictures import save_figure

__all__ = ["cone_app"]

cone_app = typer.Typer(help="Show the causal cone of some pixels in a model.", no_args_is_help=True, **PLAIN)
app.add_typer(cone_app, name="cone")


def _cone(model: str, region: str, out: Path, **values: Any) -> None:
    """`mera cone MODEL`."""
    cone = models.build(model, **given(model, values)).inference_cone(parse_region(region))
    console.print(f"pixels {region} of {cone.plan.input}\n\n{cone}", markup=False)
    pictures = {out: side_view(cone)}
    if cone.plan.input.dim == 2:
        pictures[out.with_stem(f"{out.stem}_levels")] = level_masks(cone)
    for path, figure in pictures.items():
        save_figure(figure, path)
    console.print(f"pictures: {', '.join(map(str, pictures))}")


def _cone_options() -> list[inspect.Parameter]:
    """Options of `mera cone` beside those of the model."""

    def options(
        region: Annotated[str, typer.Option(help="The pixels, in each dimension.", metavar="START:STOP[,...]")],
        out: Annotated[Path, typer.Option(help="The PNG to write.", metavar="FILE")] = Path("cone.png"),
    ) -> None: ...

    parameters = inspect.signature(options, eval_str=True).parameters.values()
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]


for name in models.names():
    builder = models.builder(name)
    command = with_options(partial(_cone, name), _cone_options(), preset_option(name) + options_of(builder))
    cone_app.command(name, help=(inspect.getdoc(builder) or "").split("\n\n")[0])(command)
