"""The command `mera refine`: pictures of twice the edges, with the details that a flow finds plausible."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer

from mera.analysis import refine_picture
from mera.analysis.drawing.images import save_image
from mera.analysis.pictures import COARSE_LONGEST
from mera.cli.common import Device, Seed
from mera.cli.lazy import sources
from mera.cli.output import Json, console, show_json
from mera.cli.sources import PICTURES_HELP, beside, flow_and_pictures


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help=f"{PICTURES_HELP} Then one picture or more.", metavar="[RUN] IMAGE...", autocompletion=sources
        ),
    ],
    times: Annotated[int, typer.Option(help="The factor of the edges: 2, 4, ...", metavar="TIMES")] = 2,
    temperature: Annotated[float, typer.Option(min=1e-6, help="Below 1, details are smoother.")] = 0.5,
    scale: Annotated[
        int, typer.Option(min=1, help="The longer edge in pixels to which a picture is reduced first.")
    ] = COARSE_LONGEST,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; IMAGE_refined.png if left out.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Refine pictures: twice the edges or more, whose means over cells come near the picture."""
    _, flow, files = flow_and_pictures(paths, device)
    pictures = beside(files, ["refined"] * len(files), out)
    for file, picture in zip(files, pictures, strict=True):
        torch.manual_seed(seed)
        with warnings.catch_warnings(record=True) as caught:
            found = refine_picture(flow, file, times, temperature=temperature, longest=scale)
        for warning in caught:
            typer.echo(f"{file}: {warning.message}", err=True)
        save_image(found, picture)
        height, width = found.shape[1:]
        if as_json:
            show_json({"file": str(file), "pixels": [height, width], "picture": str(picture)})
        else:
            before = f"{height // times} x {width // times}"
            console.print(f"{file}, {before} pixels, as {height} x {width}: {picture}")
