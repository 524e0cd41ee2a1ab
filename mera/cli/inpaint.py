"""The command `mera inpaint`: fills masked pixels of an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from mera import graph
from mera._utils.errors import InputError
from mera._utils.progress import check_console
from mera.cli.options import Class, Device, Lattice, Root, Seed, options_for
from mera.cli.picture_arguments import (
    SCALE,
    Out,
    announce,
    beside,
    flow_and_pictures,
    is_picture,
    run_and,
    save_stored,
)
from mera.cli.sources import examples_of, folder_of, select_class
from mera.cli.terminal import Json, console, show_json, with_options
from mera.cones import parse_region, sites_of
from mera.data import class_numbers
from mera.data.picture_files import read_picture
from mera.data.stored_pictures import StoredPicture, read_stored
from mera.drawing.images import inpainted, save_figure, save_image
from mera.flow.flow import Flow
from mera.graph.indexing import mask_from_sites
from mera.inpaint import Inpainting, SearchOptions

MARGIN = 8
"""The least number of pixels around a hole in its window, and the number in its picture."""
SHOWN = ("likeliest", "surface", "draw", "mean", "sample 1", "sample 2", "spread")
"""The pictures of an inpainting that are drawn, the likeliest filling only without samples."""


def _inpaint(
    paths: Annotated[list[Path], run_and("one picture or more.", "IMAGE...")],
    test: Annotated[
        int | None, typer.Option(min=0, help="Index of a test image of the run, in place of pictures.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="An image of the same size, white where pixels are to be filled.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="A rectangle, in place of a mask.", metavar="START:STOP,START:STOP")
    ] = None,
    scale: Annotated[int | None, SCALE] = None,
    L: Lattice = None,
    out: Out = None,
    label: Class = None,
    root: Root = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    **options: Any,
) -> None:
    """Fill masked pixels of pictures with a trained flow: by a draw, the mean of draws, or the likeliest filling.

    A rectangle is in rows and columns of the picture, after --scale. All other pixels of the picture stay as they are;
    of a picture that has another size than the flow, a window around the hole is filled.
    IMAGE_filled.png is the picture, and IMAGE_filled_samples.png shows the hole with several fillings. With --json, one
    line for each picture.
    """
    if (mask is None) == (region is None):
        raise typer.BadParameter("Pass either --mask FILE or --region START:STOP,START:STOP")
    if test is not None and (len(paths) > 1 or is_picture(paths[0])):
        raise typer.BadParameter("Pass either pictures or --test N")
    if test is not None and scale is not None:
        raise typer.BadParameter("--scale is for pictures, not for --test, whose images have the size of the flow")
    if test is None and root is not None:
        raise typer.BadParameter("--root is the folder of test images, and needs --test")
    if test is None:
        run, flow, files = flow_and_pictures(paths, device, L=L)
        images: Iterable[tuple[Path, Tensor, Any]] = (
            (file, read_picture(file, flow.plan.input.channels, scale), label) for file in files
        )
    else:
        run, flow, _ = flow_and_pictures(paths, device, 0, L=L)
        examples = examples_of(run, flow, root)
        if test >= len(examples):
            raise InputError(f"a test image from 0 to {len(examples) - 1}", str(test))
        of_test: Any = label
        if label is None and flow.context_encoder.classes is not None:
            of_test = int(class_numbers(examples)[test])
        files = [folder_of(run) / f"test_{test}"]
        images = [(files[0], examples[test], of_test)]
    results = beside(files, ["filled"] * len(files), out)
    sheets = beside(results, ["samples"] * len(results))
    options = {name: value for name, value in options.items() if value is not None}
    for (file, before, label_of_image), picture, sheet in zip(images, results, sheets, strict=True):
        conditioned, _ = select_class(run, flow, label_of_image)
        torch.manual_seed(seed)
        hidden = _hidden(before, mask, region, scale)
        stored = None if test is not None else read_stored(file)
        if stored is not None and stored.upright.shape[:2] != before.shape[1:]:
            stored = stored.with_pixels(before)  # reduced
        announce(picture, sheet)
        if _fill(conditioned, file, before, hidden, (picture, sheet), as_json, options, stored).stopped:
            break


def _hidden(image: Tensor, mask: Path | None, region: str | None, scale: int | None) -> Tensor:
    """The pixels of an image that are to be filled, (H, W), from the file of a mask or from a rectangle."""
    size = tuple(image.shape[1:])
    if mask is None:
        lattice = graph.Lattice(len(image), size, (False, False))
        return mask_from_sites(sites_of(parse_region(str(region)), lattice), lattice)
    pixels = read_picture(mask, 1, scale)
    if tuple(pixels.shape[1:]) != size:
        raise InputError(f"a mask of the image's size, {_by(size)}, in {mask}", f"{_by(pixels.shape[1:])}")
    hidden = pixels[0] >= 128
    if not hidden.any():
        raise InputError(f"white pixels in {mask}", "none")
    return hidden


def _fill(
    flow: Flow, file: Path, whole: Tensor, hidden: Tensor, pictures: tuple[Path, Path], as_json: bool,
    options: dict[str, Any], stored: StoredPicture | None,
) -> Inpainting:  # fmt: skip
    """Fill the hidden pixels of a picture, write its pictures, and print what was found."""
    changed = hidden
    window = _window(hidden, flow)
    beyond = [(0, max(span.stop - n, 0)) for span, n in zip(window, hidden.shape, strict=True)]
    if any(rows for _, rows in beyond):
        typer.echo(f"{file}: reflected at its lower and right border, to fit the flow", err=True)
    before = torch.from_numpy(np.pad(whole, [(0, 0), *beyond], "reflect"))[:, *window]
    hidden = torch.from_numpy(np.pad(hidden, beyond, "reflect"))[window]
    if hidden.shape != flow.plan.input.shape:
        flow = flow.resized(hidden.shape)
    before, hidden = before.to(flow.device)[None], hidden.to(flow.device)
    x = flow.from_images(before)
    result = flow.inpaint(x, hidden, console=check_console(console, quiet=as_json), **options)
    filled = _draw(before, hidden, result, flow.to_images(result.image)[0], pictures[1], whole, window)
    if stored is None:
        save_image(filled, pictures[0])
    else:
        save_stored(stored.with_pixels(filled, changed), pictures[0], file)
        if clear := int((stored.upright[..., -1][changed.numpy()] == 0).sum()) * stored.has_alpha:
            typer.echo(f"{file}: {clear:,} filled pixels are transparent, and stay so", err=True)
    numbers: dict[str, Any] = {
        "file": str(file),
        "blocks": result.blocks,
        "stopped": result.stopped,
        "kept": result.kept,
        "plausible": result.plausible,
        "masked_pixels": int(hidden.sum()),
        "pixels": hidden.numel(),
        "varied": result.varied,
        "variables": x.numel(),
        "log_prob": result.log_prob.item(),
        "log_prob_of_likeliest": result.history.max().item(),
        "log_prob_of_image": flow.log_prob(x).item(),
    }
    if result.convergence is not None:
        numbers |= asdict(result.convergence) | {"mixed": result.convergence.mixed}
    if as_json:
        show_json(numbers | {"pictures": [str(path) for path in pictures]})
        return result
    console.print(
        "{masked_pixels:,} of {pixels:,} pixels filled by varying {varied:,} of {variables:,} variables: "
        "log p {log_prob:.1f} of the filled image, {log_prob_of_likeliest:.1f} with the likeliest filling, "
        "{log_prob_of_image:.1f} of the original, in nats".format(**numbers)
    )
    if result.stopped:
        console.print("stopped: the pictures show the best that was found until then")
    elif result.blocks > 1:
        console.print(f"filled in {result.blocks} blocks in turn, each given those before it")
    if not result.plausible:
        console.print("[bold]implausible[/]: the flow found no filling as likely as the smooth surface, which is kept")
    if result.convergence is not None:
        console.print(f"samples: {result.convergence.verdict}")
    for path in pictures:
        console.print(f"  {path}")
    return result


def _window(hidden: Tensor, flow: Flow) -> tuple[slice, ...]:
    """The rows and the columns of a window around the masked pixels (H, W), whose edges fit the flow.

    They end beyond the image where no edge within it has place for the hole.
    """
    spans = []
    for axis, (unit, least) in enumerate(zip(flow.plan.period, flow.plan.input.shape, strict=True)):
        n, places = hidden.shape[axis], hidden.any(1 - axis).nonzero()
        start, stop = int(places[0]), int(places[-1]) + 1
        edge = least if n <= least else max(least, -(-min(stop - start + 2 * MARGIN, n) // unit) * unit)
        first = min(max((start + stop - edge) // 2, 0), max(n - edge, 0))
        spans.append(slice(first, first + edge))
    return tuple(spans)


def _by(shape: Sequence[int]) -> str:
    """A shape as text, "32 x 32"."""
    return " x ".join(map(str, shape))


def _draw(
    before: Tensor, hidden: Tensor, result: Inpainting, kept: Tensor, sheet: Path, whole: Tensor,
    window: tuple[slice, ...],
) -> Tensor:  # fmt: skip
    """Draw the surroundings of the hole, and return the whole image with the filling.

    The picture shows the surroundings before, masked, a draw, the mean, two other draws, their spread.
    """
    drawn = result.pictures or {}
    images = {name: drawn[name] for shown in SHOWN for name in drawn if name.partition(",")[0] == shown}
    filled = {name: torch.where(hidden, image, 0 if "spread" in name else before[0]) for name, image in images.items()}
    whole = whole.clone()
    height, width = whole[:, *window].shape[1:]
    whole[:, *window] = torch.where(hidden, kept, before[0])[:, :height, :width].cpu()
    spans = [hidden.any(1 - axis).nonzero()[:, 0] for axis in range(2)]
    near = [slice(max(int(places[0]) - MARGIN, 0), int(places[-1]) + 1 + MARGIN) for places in spans]
    ordered = {name: image for name, image in filled.items() if name != "likeliest" or len(filled) == 1}
    shown = {name: image[:, near[0], near[1]] for name, image in ({"the image": before[0]} | ordered).items()}
    figure = inpainted(shown, hidden[near[0], near[1]], str(result.convergence or ""), width=2.2)
    save_figure(figure, sheet)
    return whole


inpaint_command = with_options(_inpaint, options_for(SearchOptions, "Search"))
