"""The command `mera refine`: pictures of twice the edges, with the details that a flow finds plausible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera.analysis.drawing.images import png_path, save_image
from mera.cli.common import Device, Seed, choose_device
from mera.cli.lazy import sources
from mera.cli.output import console
from mera.cli.sources import PICTURES_HELP, learnt_fields, split_pictures
from mera.data.picture_files import read_picture
from mera.data.sources import reflected


@torch.no_grad()
def command(
    paths: Annotated[
        list[Path],
        typer.Argument(help=f"{PICTURES_HELP} Then a picture.", metavar="[RUN] IMAGE", autocompletion=sources),
    ],
    times: Annotated[int, typer.Option(help="The factor of the edges: 2, 4, ...", metavar="TIMES")] = 2,
    temperature: Annotated[float, typer.Option(min=1e-6, help="Below 1, details are smoother.")] = 0.5,
    scale: Annotated[int, typer.Option(min=1, help="The longer edge in pixels to which the picture is reduced.")] = 480,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; IMAGE_refined.png if left out.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Refine a picture: twice the edges or more, whose means over cells are the picture."""
    run, flow, (file,) = split_pictures(paths, 1)
    if learnt_fields(run):
        raise InputError("a run that learnt images", f"fields in {run}")
    levels = times.bit_length() - 1
    if times < 2 or times != 2**levels:
        raise InputError("--times as a power of two, 2 or more", str(times))
    pixels = read_picture(file, flow.plan.input.channels, scale)
    height, width = pixels.shape[1:]
    image = reflected(pixels[None], flow).to(choose_device(device))
    flow = flow.to(image.device)
    torch.manual_seed(seed)
    x = flow.resized(image.shape[2:]).from_images(image)
    fine = flow.refine(x, levels, temperature=temperature, means=True)
    found = flow.resized(fine.shape[2:]).to_images(fine)[0, :, : times * height, : times * width].cpu()
    out = png_path(file.with_name(f"{file.stem}_refined.png") if out is None else out)
    make_folder(out.parent)
    save_image(found, out)
    console.print(f"{file}, {height} x {width} pixels, as {times * height} x {times * width}: {out}")
