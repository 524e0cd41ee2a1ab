"""Commands that show a model and what it draws: info, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import models
from mera.cli.common import (
    LAYOUT_HELP,
    PLAIN,
    Device,
    add_for_each_model,
    app,
    choose_device,
    console,
    flow_of,
    model_options,
)
from mera.cli.options import integers, numbers, signature_options
from mera.drawing import draw_layout
from mera.drawing.images import png_path, save_figure, save_grid
from mera.flow import Flow
from mera.io.flows import load
from mera.io.layouts import load_layout
from mera.train import RunFolder, is_main
from mera.train import sample as draw

__all__ = ["info", "sample"]

info_app = typer.Typer(help="Show the plan and the parameters of a model.", no_args_is_help=True, **PLAIN)
app.add_typer(info_app, name="info")

Picture = Annotated[Path | None, typer.Option(help="Draw the layout, and write this PNG.", metavar="FILE")]


def _info(model: str, **values: Any) -> None:
    """The command `mera info MODEL`."""
    _show(models.build(model, **model_options(model, values)), values["picture"], model)


def _show(flow: Flow, picture: Path | None, title: str) -> None:
    """Print a flow and its plan; draw its layout from the side and, in one or two dimensions, from above."""
    console.print(f"{flow}\n\n{flow.plan}")
    if picture is None:
        return
    picture = png_path(picture)
    views = {"side": picture} | (
        {"above": picture.with_stem(f"{picture.stem}_above")} if flow.plan.input.dim < 3 else {}
    )
    for view, path in views.items():
        save_figure(draw_layout(flow.layout, view, title=title), path)
    console.print(f"pictures: {', '.join(map(str, views.values()))}")


@info_app.callback(invoke_without_command=True)
def info(
    context: typer.Context,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
    picture: Picture = None,
) -> None:
    """Show the plan and the parameters of a model, or of a layout of your own."""
    if (layout is None) == (context.invoked_subcommand is None):
        raise typer.BadParameter(f"Expected either a model ({', '.join(models.names())}) or --layout FILE")
    if layout is not None:
        _show(flow_of(layout, load_layout(layout)), picture, layout.stem)


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or a file that mera.save wrote.")],
    n: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 64,
    temperature: Annotated[
        Any,
        typer.Option(parser=numbers, help="One for all levels, or for each, finest first.", metavar="T[,T...]"),
    ] = "1.0",
    classes: Annotated[
        Any,
        typer.Option(
            parser=integers, help="Class of the samples of a conditional flow, or several in turn.", metavar="K[,K...]"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The PNG to write.", metavar="FILE")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.")] = 0,
    device: Device = "auto",
) -> None:
    """Draw samples and write them as a grid."""
    flow = (load(run) if run.is_file() else RunFolder(run).flow()).to(choose_device(device))
    context = None
    if classes is not None:
        numbers_of_classes = torch.tensor(classes if isinstance(classes, tuple) else (classes,), device=flow.device)
        context = numbers_of_classes[torch.arange(n, device=flow.device) % len(numbers_of_classes)]
    images = flow.to_images(draw(flow, n, temperature, seed, context))
    name = "_".join(map(str, temperature)) if isinstance(temperature, tuple) else str(temperature)
    out = out if out is not None else (run if run.is_dir() else run.parent) / f"samples_T{name}.png"
    out = png_path(out)
    if is_main():
        save_grid(images, out)
    console.print(f"{n} samples at temperature {temperature}: {out}")


def _picture(picture: Picture = None) -> None:
    """A function whose signature declares the option of `mera info MODEL` beside those of the model."""


add_for_each_model(info_app, _info, after=signature_options(_picture))
