"""The command `mera mix`: coarse levels of one picture with fine levels of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera.analysis.drawing.images import png_path, save_figure, save_image, titled
from mera.analysis.edit import mix
from mera.cli.common import Device, Seed, choose_device
from mera.cli.lazy import sources
from mera.cli.output import console
from mera.cli.sources import PICTURES_HELP, fitted, learnt_fields, split_pictures
from mera.data.dataset import resize
from mera.data.picture_files import read_picture
from mera.data.sources import Source


@torch.no_grad()
def command(
    paths: Annotated[
        list[Path],
        typer.Argument(help=f"{PICTURES_HELP} Then two pictures.", metavar="[RUN] A B", autocompletion=sources),
    ],
    level: Annotated[
        int | None, typer.Option(min=0, help="This level and coarser ones come from A, finer ones from B.")
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="The longer edge in pixels to which A is reduced.")] = 960,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; A_B_mix.png beside A if left out.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Mix two pictures by scale (RG-Flow, Eq. 9): the shapes of A with the fine structure of B.

    B is cropped and resized to A. Without a level, all of them are shown beside A and B.
    """
    run, flow, (a, b) = split_pictures(paths, 2)
    if learnt_fields(run):
        raise InputError("a run that learnt images", f"fields in {run}")
    first = read_picture(a, flow.plan.input.channels, scale)
    second = resize(read_picture(b, flow.plan.input.channels, scale), first.shape[1:])
    pair = [fitted(Source(image, name=str(file)), flow) for image, file in ((first, a), (second, b))]
    flow = flow.resized(pair[0].shape[1:]).to(choose_device(device))
    torch.manual_seed(seed)
    z_a, z_b = (flow(flow.from_images(image[:, :, :][None].to(flow.device)))[0] for image in pair)
    levels = range(1, len(z_a)) if level is None else [level]
    mixed = [flow.to_images(flow.inverse(mix(z_a, z_b, h))[0])[0].cpu() for h in levels]
    mixed = [image[:, : first.shape[1], : first.shape[2]] for image in mixed]
    name = f"{a.stem}_{b.stem}_mix{'' if level is None else f'_{level}'}.png"
    out = png_path(a.with_name(name) if out is None else out)
    make_folder(out.parent)
    if level is None:
        titles = [f"levels from {h} on of A" for h in levels]
        save_figure(titled(dict(zip(["A", "B", *titles], [first, second, *mixed], strict=True))), out)
    else:
        save_image(mixed[0], out)
    console.print(f"{a} and {b}, mixed at {'all levels' if level is None else f'level {level}'}: {out}")
