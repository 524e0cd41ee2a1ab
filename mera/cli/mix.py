"""The command `mera mix`: coarse levels of one picture with fine levels of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from mera.analysis import mix_pictures
from mera.analysis.drawing.images import save_figure, save_image, titled
from mera.analysis.pictures import LONGEST
from mera.cli.common import Device, Seed
from mera.cli.lazy import sources
from mera.cli.output import Json, console, show_json
from mera.cli.sources import PICTURES_HELP, beside, flow_and_pictures
from mera.data import photograph


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help=f"{PICTURES_HELP} Then a picture, and one or more to mix with it.",
            metavar="[RUN] A B...",
            autocompletion=sources,
        ),
    ],
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="This level and coarser ones come from A, finer ones from B. If left out, the coarsest, and "
            "all levels in a second picture.",
        ),
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="The longer edge in pixels to which A is reduced.")] = LONGEST,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; A_B_mix_LEVEL.png beside A if left out.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Mix two pictures by scale (RG-Flow, Eq. 9): the shapes of A with the fine structure of B.

    B is cropped and resized to A. Several B are mixed with A one by one. With --json, one line for each.
    """  # fmt: skip
    _, flow, (a, *others) = flow_and_pictures(paths, device, 2)
    top = len(flow.plan.latents) - 1
    levels = range(1, top + 1) if level is None else [level]
    chosen = levels[-1]
    results = beside([a] * len(others), [f"{b.stem}_mix_{chosen}" for b in others], out, others)
    for b, picture in zip(others, results, strict=True):
        torch.manual_seed(seed)
        mixed = mix_pictures(flow, a, b, levels, longest=scale)
        pictures = [picture]
        if level is None:
            pictures += beside([picture], ["levels"])
            size = 2 * max(mixed[chosen].shape[1:]) // 3
            titles = {f"levels from {h} on of A": image for h, image in mixed.items()}
            sheet = {"A": photograph(a, size), "B": photograph(b, size)} | titles
            save_figure(titled(sheet, columns=3, width=3.2), pictures[1])
        save_image(mixed[chosen], picture)
        if as_json:
            show_json({"files": [str(a), str(b)], "level": chosen, "pictures": [str(path) for path in pictures]})
        else:
            console.print(f"{a} from level {chosen} on, with finer levels of {b}: {' and '.join(map(str, pictures))}")
