"""The command `mera sample`: samples of a run, as a grid of images or as an array."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder, replacing
from mera._utils.processes import is_main
from mera.analysis.drawing.images import png_path, save_grid, stretch
from mera.cli.common import Device, Lattice, Seed, choose_device, parse_classes
from mera.cli.declared_options import value
from mera.cli.lazy import sources
from mera.cli.output import console
from mera.cli.sources import SOURCE_HELP, folder_of, learnt_fields, load_flow
from mera.train.evaluate import sample as draw

PICTURES = 0.8
"""The usual temperature of images, which is calmer than their own."""


def command(
    run: Annotated[Path, typer.Argument(help=SOURCE_HELP, autocompletion=sources)],
    n: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 64,
    L: Lattice = None,
    levels: Annotated[
        int | None, typer.Option(help="Another number of levels, of a flow whose levels share their bijectors.", min=1)
    ] = None,
    temperature: Annotated[
        Any,
        typer.Option(
            parser=value,
            metavar="T[,T...]",
            help=f"One for all levels, or one each, finest first. Default: {PICTURES} for images, 1 for fields.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes of a conditional flow, in turn, by name or number.", metavar="NAME|K[,...]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; or .npy for all samples as an array.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw samples of a run, and write a grid, or an array if they are not images; of all classes in turn."""
    flow = load_flow(run, L, levels).to(choose_device(device))
    as_array = out.suffix == ".npy" if out is not None else not flow.plan.input.is_picture
    if not as_array and not flow.plan.input.is_picture:
        raise InputError("a .npy file for samples that are not images", str(out))
    context = None
    if classes is not None:
        chosen = torch.tensor(parse_classes(run, flow, classes), device=flow.device)
        context = chosen[torch.arange(n, device=flow.device) % len(chosen)]
    is_image = flow.plan.input.is_picture and not learnt_fields(run)
    if temperature is None:
        temperature = PICTURES if is_image else 1.0
    samples = draw(flow, n, temperature, seed, context)
    if is_image:
        samples = flow.to_images(samples)
    name = "_".join(map(str, temperature)) if isinstance(temperature, tuple) else str(temperature)
    name += "" if classes is None else f"_classes_{'_'.join(map(str, chosen.tolist()))}"
    edges = "" if L is None else f"_L_{'_'.join(map(str, flow.plan.input.shape))}"
    edges += "" if levels is None else f"_levels_{levels}"
    name += edges + (f"_seed_{seed}" if seed else "")  # keeps the pictures of other lattices and seeds
    out = folder_of(run) / f"samples_T{name}.{'npy' if as_array else 'png'}" if out is None else out
    out = out if as_array else png_path(out)
    make_folder(out.parent)
    if is_main() and as_array:
        with replacing(out) as temporary, temporary.open("wb") as file:
            np.save(file, samples.cpu().numpy())
    elif is_main():
        save_grid(samples if samples.dtype == torch.uint8 else stretch(samples), out)
    console.print(f"{n} samples at temperature {temperature}: {out}")
