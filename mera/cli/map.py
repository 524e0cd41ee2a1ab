"""The command `mera map`: log p of images of any size, by site and level."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from mera._utils.errors import InputError
from mera._utils.processes import is_main
from mera._utils.progress import check_console
from mera._utils.table import Table
from mera.analysis import map_picture
from mera.analysis.drawing.images import save_figure
from mera.analysis.pictures import as_source
from mera.cli.common import Device, Seed
from mera.cli.lazy import sources
from mera.cli.output import Json, console, show, show_json
from mera.cli.sources import PICTURES_HELP, beside, flow_and_pictures, learnt_fields
from mera.data.sources import open_image


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help=f"{PICTURES_HELP} Then one image or more: a picture, TIFF, zarr, OME-Zarr or .npy.",
            metavar="[RUN] IMAGE...",
            autocompletion=sources,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a store of zarr and the picture, for an image that does not fit into memory. If left out, "
            "only the picture IMAGE_map.png is written, beside the image.",
            metavar="DIR",
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The longer edge in pixels to which a picture is reduced, 960 if left out; of TIFF, zarr and "
            ".npy, and with --out, all pixels.",
        ),
    ] = None,
    tile: Annotated[int, typer.Option(min=1, help="Edge of a tile in pixels.")] = 512,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the store in the folder.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Map log p of images of any size, by site and level, exactly: a table and a picture, and a store on disk.

    With --json, one line for each image; log p is null where an image was reflected at its lower and right border, to
    edges that fit the flow: the bits are those of the image itself.
    """  # fmt: skip
    if resume and out is None:
        raise InputError("--out with --resume, the folder of the store", "no --out")
    run, flow, files = flow_and_pictures(paths, device, fields=True)
    pictures = beside(files, ["map"] * len(files), None if out is None else out / "map.png")
    progress_console = check_console(console, quiet=as_json)
    for file, picture in zip(files, pictures, strict=True):
        channels = flow.plan.input.channels
        source = open_image(file, channels) if out is not None and scale is None else as_source(file, channels, scale)
        is_image = source.dtype in (np.uint8, torch.uint8)
        if learnt_fields(run) and is_image:
            raise InputError(f"fields of floats for {run}, which learnt fields", f"8-bit integers in {file}")
        if not (is_image or learnt_fields(run) or run.is_file()):
            raise InputError(f"8-bit integers for {run}, which learnt images", f"{source.dtype} in {file}")
        found = map_picture(flow, source, out=out, tile=tile, seed=seed, resume=resume, console=progress_console)
        if not is_main():
            return
        save_figure(found.figure(), picture)
        if as_json:
            log_prob = None if found.is_reflected else found.streamed.log_prob
            numbers = {found.unit.replace("/", "_per_"): found.total, "levels": found.levels, "log_prob": log_prob}
            show_json(
                {"file": str(file), **numbers, "store": None if out is None else str(out), "picture": str(picture)}
            )
            continue
        parts = [f"level {h}, sites of {edge} pixels" for h, edge in enumerate(found.sites)]
        rows = [(part, f"{value:.4f}") for part, value in zip(parts, found.levels, strict=True)]
        table = Table(["part", found.unit], [*rows, ("all levels", f"{found.total:.4f}")])
        height, width = source.shape[1:]
        seen = f"{file}: {height} x {width} pixels"
        if found.is_reflected:
            seen += ", reflected at its lower and right border for the flow; the bits are those of its own cells"
        show(seen, table, *([] if out is None else [f"store: {out}"]), f"picture: {picture}")
