"""The command `mera inpaint`: fills masked pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from mera import graph
from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera._utils.progress import check_console
from mera.analysis.drawing.images import inpainted, save_figure, save_image
from mera.cli.common import Class, Device, Lattice, Root, Seed, choose_device, select_class
from mera.cli.declared_options import options_for, signature_options
from mera.cli.lazy import sources, with_options
from mera.cli.output import Json, console, show_json
from mera.cli.sources import SOURCE_HELP, examples_of, folder_of, learnt_fields, load_flow
from mera.cones import parse_region, sites_of
from mera.data import class_numbers
from mera.data.picture_files import read_picture
from mera.flow.flow import Flow
from mera.graph.indexing import mask_from_sites
from mera.graph.resize import period
from mera.inpaint import Inpainting, SearchOptions

MARGIN = 8
"""The least number of pixels around a hole in its window, and the number in its picture."""
SHOWN = ("likeliest", "medoid", "sample 1", "sample 2", "spread")
"""The pictures of an inpainting that are drawn, the likeliest filling only without samples."""
Run = Annotated[Path, typer.Argument(help=SOURCE_HELP, autocompletion=sources)]
ImageFile = Annotated[
    Path | None,
    typer.Option(help="The image. Of one that has another size than the flow, a window around the hole is filled."),
]
Test = Annotated[int | None, typer.Option(min=0, help="Index of a test image of the run, in place of a file.")]
MaskFile = Annotated[Path | None, typer.Option(help="An image of the same size, white where pixels are to be filled.")]
Where = Annotated[str | None, typer.Option(help="A rectangle, in place of a mask.", metavar="START:STOP,START:STOP")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder; if left out, RUN/inpaint/NAME, named after image, mask and seed.", metavar="DIR"),
]


def _inpaint(
    run: Run,
    image: ImageFile = None,
    test: Test = None,
    mask: MaskFile = None,
    region: Where = None,
    L: Lattice = None,
    out: Out = None,
    label: Class = None,
    root: Root = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    **options: Any,
) -> None:
    """Fill masked pixels of an image with a trained flow: samples, their medoid and spread, the likeliest filling.

    Mask and region are in pixels of the image. All other pixels of the image stay as they are.
    """
    if (image is None) == (test is None):
        raise typer.BadParameter("Pass either --image FILE or --test N")
    if (mask is None) == (region is None):
        raise typer.BadParameter("Pass either --mask FILE or --region START:STOP,START:STOP")
    flow: Flow = load_flow(run, L).to(choose_device(device))
    if not isinstance(flow, Flow):
        raise InputError("a run of a Flow, to inpaint", f"one of a {type(flow).__name__}")
    if learnt_fields(run):
        raise InputError("a run that learnt images", f"fields in {run}: use flow.inpaint in Python")
    torch.manual_seed(seed)
    selected: str | int | None = label
    if image is not None:
        before = read_picture(image, flow.plan.input.channels)
    elif test is not None:
        images = examples_of(run, flow, root)
        if test >= len(images):
            raise InputError(f"a test image from 0 to {len(images) - 1}", str(test))
        before = images[test]
        if label is None and flow.context_encoder.classes is not None:
            selected = int(class_numbers(images)[test])
    flow, _ = select_class(run, flow, selected)
    whole, size = before, tuple(before.shape[1:])
    if mask is not None:
        pixels = read_picture(mask, 1)
        if tuple(pixels.shape[1:]) != size:
            raise InputError(f"a mask of the image's size, {_by(size)}, in {mask}", f"{_by(pixels.shape[1:])}")
        hidden = pixels[0] >= 128
        if not hidden.any():
            raise InputError(f"white pixels in {mask}", "none")
    elif region is not None:
        lattice = graph.Lattice(len(before), size, (False, False))
        hidden = mask_from_sites(sites_of(parse_region(region), lattice), lattice)
    window = _window(hidden, flow)
    beyond = [(0, max(span.stop - n, 0)) for span, n in zip(window, size, strict=True)]
    if any(rows for _, rows in beyond):
        typer.echo(f"{image}: reflected at its lower and right border, to fit the flow", err=True)
    before = torch.from_numpy(np.pad(before, [(0, 0), *beyond], "reflect"))[:, *window]
    hidden = torch.from_numpy(np.pad(hidden, beyond, "reflect"))[window]
    if hidden.shape != flow.plan.input.shape:
        flow = flow.resized(hidden.shape)
    if out is None:
        what, where = _named(image) if image else f"test_{test}", _named(mask) if mask else str(region)
        name = f"{what}_{where}" + (f"_seed_{seed}" if seed else "")
        out = folder_of(run) / "inpaint" / name.replace(",", "_").replace(":", "-").replace(" ", "")
    make_folder(out)
    before, hidden = before.to(flow.device)[None], hidden.to(flow.device)
    x = flow.from_images(before)
    options = {name: value for name, value in options.items() if value is not None}
    result = flow.inpaint(x, hidden, console=check_console(console, quiet=as_json), **options)
    pictures = _draw(before, hidden, result, out, whole, window)
    numbers = {
        "masked_pixels": int(hidden.sum()),
        "pixels": hidden.numel(),
        "varied": result.varied,
        "variables": x.numel(),
        "log_prob": result.log_prob.item(),
        "log_prob_of_likeliest": result.history.max().item(),
        "log_prob_of_image": flow.log_prob(x).item(),
    }
    if result.convergence is not None:
        numbers |= asdict(result.convergence) | {"mixed": result.convergence.mixed, "stopped": result.stopped}
    if as_json:
        show_json(numbers | {"pictures": [str(path) for path in pictures]})
    else:
        _report(numbers, result, pictures)


def _window(hidden: Tensor, flow: Flow) -> tuple[slice, ...]:
    """The rows and the columns of a window around the masked pixels (H, W), whose edges fit the flow.

    They end beyond the image where no edge within it has place for the hole.
    """
    spans = []
    for axis, (unit, least) in enumerate(zip(period(flow.plan), flow.plan.input.shape, strict=True)):
        n, places = hidden.shape[axis], hidden.any(1 - axis).nonzero()
        start, stop = int(places[0]), int(places[-1]) + 1
        edge = least if n <= least else max(least, -(-min(stop - start + 2 * MARGIN, n) // unit) * unit)
        first = min(max((start + stop - edge) // 2, 0), max(n - edge, 0))
        spans.append(slice(first, first + edge))
    return tuple(spans)


def _named(file: Path) -> str:
    """The path of a file without its suffix as a name, "x_1" of "x/1.png"."""
    return "_".join(part for part in file.with_suffix("").parts if part not in (file.anchor, ".."))


def _by(shape: Sequence[int]) -> str:
    """A shape as text, "32 x 32"."""
    return " x ".join(map(str, shape))


def _report(numbers: dict[str, Any], result: Inpainting, pictures: list[Path]) -> None:
    """Print the number of variables that were varied, log p of the fillings, and the paths of the pictures."""
    console.print(
        "{masked_pixels:,} of {pixels:,} pixels filled by varying {varied:,} of {variables:,} variables: "
        "log p {log_prob:.1f} of the filled image, {log_prob_of_likeliest:.1f} with the likeliest filling, "
        "{log_prob_of_image:.1f} of the original, in nats".format(**numbers)
    )
    if result.stopped:
        console.print("stopped: the pictures show the best that was found until then")
    if result.convergence is not None:
        console.print(f"samples: {result.convergence.verdict}")
    for path in pictures:
        console.print(f"  {path}")


def _draw(
    before: Tensor, hidden: Tensor, result: Inpainting, out: Path, whole: Tensor, window: tuple[slice, ...]
) -> list[Path]:
    """Write the pictures and return their paths; pixels that are not masked keep the values of the whole image.

    The second picture shows the surroundings of the hole: before, masked, the medoid, two other draws, their spread.
    """
    images = {name: image for name, image in (result.pictures or {}).items() if name in SHOWN}
    filled = {name: torch.where(hidden, image, before[0] if name != "spread" else 0) for name, image in images.items()}
    paths = [out / "filled.png", out / "inpaint.png"]
    whole = whole.clone()
    height, width = whole[:, *window].shape[1:]
    whole[:, *window] = filled.get("medoid", filled["likeliest"])[:, :height, :width].cpu()
    save_image(whole, paths[0])
    spans = [hidden.any(1 - axis).nonzero()[:, 0] for axis in range(2)]
    near = [slice(max(int(places[0]) - MARGIN, 0), int(places[-1]) + 1 + MARGIN) for places in spans]
    ordered = {name: filled[name] for name in SHOWN if name in filled and (name != "likeliest" or len(filled) == 1)}
    shown = {name: image[:, near[0], near[1]] for name, image in ({"the image": before[0]} | ordered).items()}
    figure = inpainted(shown, hidden[near[0], near[1]], str(result.convergence or ""), width=2.2)
    save_figure(figure, paths[1])
    return paths


_search_options = options_for(SearchOptions, "Search")
command = with_options(_inpaint, signature_options(_inpaint), _search_options)
