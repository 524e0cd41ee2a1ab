"""The commands `mera map`, `find`, `mix` and `refine`: pictures of any size, with a run before them or without."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch.nn.functional import interpolate

from mera._utils.errors import InputError
from mera._utils.progress import check_console
from mera._utils.table import Table
from mera.analysis import find_surprises, map_picture, mix_pictures, refine_picture
from mera.analysis.pictures import COARSE_LONGEST, LONGEST, as_source
from mera.cli import stopping
from mera.cli.options import Device, Seed
from mera.cli.picture_arguments import (
    SCALE,
    Out,
    announce,
    beside,
    flow_and_pictures,
    name_of,
    run_and,
    save_stored,
)
from mera.cli.sources import learnt_fields
from mera.cli.terminal import Json, console, show, show_json
from mera.data import photograph
from mera.data.picture_files import read_picture
from mera.data.sources import open_image
from mera.data.stored_pictures import read_stored
from mera.drawing.images import save_figure, save_image, titled


def map_command(
    paths: Annotated[list[Path], run_and("one image or more: a picture or a file .npy.", "IMAGE...")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Empty folder for maps as .npy and the picture, for an image that does not fit into memory. If "
            "left out, only the picture IMAGE_map.png is written, beside the image.",
            metavar="DIR",
        ),
    ] = None,
    scale: Annotated[int | None, SCALE] = None,
    tile: Annotated[int, typer.Option(min=1, help="Edge of a tile in pixels.")] = 512,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Map log p of images of any size, by site and level, exactly: a table and a picture, and maps on disk.

    Without --scale, pictures are reduced to 960 pixels, but not with --out; files .npy are not reduced. With
    --json, one line for each image; log p is null where an image was reflected at its lower and right border, to edges
    that fit the flow: the bits are those of the image itself.
    """
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
        announce(picture)
        result = map_picture(flow, source, out=out, tile=tile, seed=seed, console=progress_console)
        save_figure(result.figure(), picture)
        stopping.done.append(str(picture))
        if as_json:
            log_prob = None if result.is_reflected else result.streamed.log_prob
            numbers = {result.unit.replace("/", "_per_"): result.total, "levels": result.levels, "log_prob": log_prob}
            show_json(
                {"file": str(file), **numbers, "maps": None if out is None else str(out), "picture": str(picture)}
            )
            continue
        parts = [f"level {h}, sites of {edge} pixels" for h, edge in enumerate(result.sites)]
        rows = [(part, f"{value:.4f}") for part, value in zip(parts, result.levels, strict=True)]
        table = Table(["part", result.unit], [*rows, ("all levels", f"{result.total:.4f}")])
        height, width = source.shape[1:]
        text = f"{file}: {height} x {width} pixels"
        if result.is_reflected:
            text += ", reflected at its lower and right border for the flow; the bits are those of its own cells"
        show(text, table, *([] if out is None else [f"maps: {out}"]), f"picture: {picture}")


def find_command(
    paths: Annotated[list[Path], run_and("one picture or more.", "IMAGE...")],
    most: Annotated[int, typer.Option(min=1, help="The most parts that are marked.")] = 10,
    score: Annotated[float, typer.Option(min=1e-6, help="The lowest score of a part; 5 marks more than 10.")] = 10.0,
    scale: Annotated[int, SCALE] = LONGEST,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find surprising parts of pictures: their mask IMAGE_found.png, a picture with boxes, and a table.

    `mera inpaint IMAGE --mask IMAGE_found.png` fills what is white. Look at the boxes first: stars and lights surprise
    as dust does. With --json, one line for each picture; rows and columns are those of the picture after --scale.
    """
    _, flow, files = flow_and_pictures(paths, device)
    masks = beside(files, ["found"] * len(files), out)
    sheets = beside(masks, ["boxes"] * len(masks))
    for file, picture, sheet in zip(files, masks, sheets, strict=True):
        size = read_picture(file).shape[1:]
        announce(picture, sheet)
        progress_console = check_console(console, quiet=as_json)
        found = find_surprises(flow, file, most=most, score=score, longest=scale, seed=seed, console=progress_console)
        mask = (255 * found.mask[None, None]).to(torch.uint8)
        save_image(interpolate(mask, tuple(size))[0], picture)  # of the size of the file
        save_figure(found.figure(), sheet)
        stopping.done.extend([str(picture), str(sheet)])
        if as_json:
            parts = [asdict(part) for part in found.parts]
            show_json({"file": str(file), "found": parts, "pictures": [str(picture), str(sheet)]})
        else:
            height, width = found.mask.shape
            show(f"{file}, as {height} x {width} pixels:", str(found), f"mask: {picture}", f"picture: {sheet}")


def mix_command(
    paths: Annotated[list[Path], run_and("a picture, and one or more to mix with it.", "A B...")],
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="This level and coarser ones come from A, finer ones from B. If left out, the coarsest, and "
            "all levels in a second picture.",
        ),
    ] = None,
    scale: Annotated[int, SCALE] = LONGEST,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Mix two pictures by scale (RG-Flow, Eq. 9): the shapes of A with the fine structure of B.

    B is cropped and resized to A, and A_B_mix_LEVEL.png is written beside A. Several B are mixed with A one by one;
    with --json, one line for each.
    """
    _, flow, (a, *others) = flow_and_pictures(paths, device, 2)
    top = len(flow.plan.latents) - 1
    levels = range(1, top + 1) if level is None else [level]
    chosen = levels[-1]
    results = beside([a] * len(others), [f"{name_of(b, others)}_mix_{chosen}" for b in others], out, others)
    sheets = beside(results, ["levels"] * len(results))
    for b, picture, levels_picture in zip(others, results, sheets, strict=True):
        torch.manual_seed(seed)
        stored, other = read_stored(a), read_stored(b)
        pictures = [picture, levels_picture] if level is None else [picture]
        announce(*pictures)
        mixed = mix_pictures(flow, a, b, levels, longest=scale, console=check_console(console, quiet=as_json))
        if level is None:
            size = 2 * max(mixed[chosen].shape[1:]) // 3
            titles = {f"levels from {h} on of A": image for h, image in mixed.items()}
            sheet = {"A": photograph(a, size), "B": photograph(b, size)} | titles
            save_figure(titled(sheet, columns=3, width=3.2), levels_picture)
        save_stored(stored.with_pixels(mixed[chosen]), picture, a)
        if other.has_alpha or other.info.get("icc_profile") not in (None, stored.info.get("icc_profile")):
            typer.echo(f"{b}: read in front of white, and without its ICC profile", err=True)
        if as_json:
            show_json({"files": [str(a), str(b)], "level": chosen, "pictures": [str(path) for path in pictures]})
        else:
            console.print(f"{a} from level {chosen} on, with finer levels of {b}: {' and '.join(map(str, pictures))}")


def refine_command(
    paths: Annotated[list[Path], run_and("one picture or more.", "IMAGE...")],
    times: Annotated[int, typer.Option(help="The factor of the edges: 2, 4, ...", metavar="TIMES")] = 2,
    temperature: Annotated[float, typer.Option(min=1e-6, help="Below 1, details are smoother.")] = 0.5,
    scale: Annotated[int, SCALE] = COARSE_LONGEST,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Refine pictures: twice the edges or more, whose means over cells come near the picture, as IMAGE_refined.png."""
    _, flow, files = flow_and_pictures(paths, device)
    pictures = beside(files, ["refined"] * len(files), out)
    for file, picture in zip(files, pictures, strict=True):
        torch.manual_seed(seed)
        stored = read_stored(file)
        announce(picture)
        with warnings.catch_warnings(record=True) as caught:
            refined = refine_picture(
                flow, file, times, temperature=temperature, longest=scale, console=check_console(console, quiet=as_json)
            )
        for warning in caught:
            typer.echo(f"{file}: {warning.message}", err=True)
        save_stored(stored.with_pixels(refined), picture, file)
        height, width = refined.shape[1:]
        if as_json:
            show_json({"file": str(file), "pixels": [height, width], "picture": str(picture)})
        else:
            before = f"{height // times} x {width // times}"
            console.print(f"{file}, {before} pixels, as {height} x {width}: {picture}")
