"""The command `mera sample`: samples of a run, as a grid of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera.cli.common import Device, choose_device, console, load_flow
from mera.cli.lazy import OPTIONS
from mera.cli.options import integers, numbers
from mera.drawing.images import png_path, save_grid
from mera.train.evaluate import sample as draw
from mera.train.processes import is_main

__all__ = ["app"]

app = typer.Typer(**OPTIONS)


@app.command()
def _sample(
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
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write.", metavar="FILE", rich_help_panel="Output")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.")] = 0,
    device: Device = "auto",
) -> None:
    """Draw samples of a run, and write them as a grid."""
    flow = load_flow(run).to(choose_device(device))
    context = None
    if classes is not None:
        class_numbers = torch.tensor(classes if isinstance(classes, tuple) else (classes,), device=flow.device)
        context = class_numbers[torch.arange(n, device=flow.device) % len(class_numbers)]
    images = flow.to_images(draw(flow, n, temperature, seed, context))
    name = "_".join(map(str, temperature)) if isinstance(temperature, tuple) else str(temperature)
    out = out if out is not None else (run if run.is_dir() else run.parent) / f"samples_T{name}.png"
    out = png_path(out)
    if is_main():
        save_grid(images, out)
    console.print(f"{n} samples at temperature {temperature}: {out}")
