"""The command `mera map`: log p of an image of any size, by site and level."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.processes import is_main
from mera._utils.progress import check_console
from mera._utils.table import Table
from mera.analysis.drawing.curves import map_figure
from mera.analysis.drawing.images import save_figure
from mera.cli.common import Device, Seed, choose_device
from mera.cli.lazy import sources
from mera.cli.output import Json, console, show, show_json
from mera.cli.sources import PICTURES_HELP, fitted, learnt_fields, split_pictures
from mera.data.sources import Source, open_image

MAX_PICTURE_EDGE = 512
"""The longest edge of the picture of the image, in pixels."""


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help=f"{PICTURES_HELP} Then the image: a picture, TIFF, zarr, OME-Zarr or .npy.",
            metavar="[RUN] IMAGE",
            autocompletion=sources,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a store of zarr and the picture, for images that do not fit into memory. If left out, "
            "only the picture IMAGE_map.png is written, beside the image.",
            metavar="DIR",
        ),
    ] = None,
    tile: Annotated[int, typer.Option(min=1, help="Edge of a tile in pixels.")] = 512,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the store in the folder.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Map log p of an image of any size, by site and level, exactly: a table and a picture, and a store on disk."""
    if resume and out is None:
        raise InputError("--out with --resume, the folder of the store", "no --out")
    run, flow, (file,) = split_pictures(paths, 1)
    source = open_image(file, flow.plan.input.channels)
    is_image = source.dtype in (np.uint8, torch.uint8)
    if learnt_fields(run) and is_image:
        raise InputError(f"fields of floats for {run}, which learnt fields", f"8-bit integers in {file}")
    if not (is_image or learnt_fields(run) or run.is_file()):
        raise InputError(f"8-bit integers for {run}, which learnt images", f"{source.dtype} in {file}")
    shape = source.shape[1:]
    source = fitted(source, flow)
    flow = flow.resized(source.shape[1:]).to(choose_device(device))
    result = flow.stream(
        source, out, tile=tile, seed=seed, resume=resume, console=check_console(console, quiet=as_json)
    )
    if not is_main():
        return
    cells = result.bits(shape=shape).float()
    bits = cells.mean((1, 2)).tolist()
    picture = file.with_name(f"{file.stem}_map.png") if out is None else out / "map.png"
    save_figure(map_figure(_reduced(source, shape), cells), picture)
    unit = "bits/dim" if is_image else "bits/variable"
    numbers = {"log_prob": result.log_prob, unit.replace("/", "_per_"): sum(bits), "levels": bits}
    if as_json:
        show_json(numbers | {"store": None if out is None else str(out), "picture": str(picture)})
        return
    rows = [
        *((f"level {level}", f"{value:.4f}") for level, value in enumerate(bits)),
        ("all levels", f"{sum(bits):.4f}"),
    ]
    show(Table(["part", unit], rows), *([] if out is None else [f"store: {out}"]), f"picture: {picture}")


def _reduced(source: Source, shape: tuple[int, ...]) -> Tensor:
    """The first rows and columns of an image with fewer pixels, by leaving out others, and values from 0 to 1."""
    step = max(1, -(-max(shape) // MAX_PICTURE_EDGE))
    rows = [source[:, row : row + 1, : shape[1]][:, :, ::step].float() for row in range(0, shape[0], step)]
    values = torch.cat(rows, 1)
    if values.max() > 1 or values.min() < 0:
        values = (values - values.min()) / (values.max() - values.min()).clamp(min=1e-12)
    return values[:3] if len(values) > 2 else values[:1]
