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
from mera._utils.progress import ProgressBar, check_console
from mera.cli import stopping
from mera.cli.options import Class, Device, Lattice, Root, Seed, options_for
from mera.cli.picture_arguments import (
    SCALE,
    Out,
    announce,
    beside,
    flow_and_pictures,
    is_picture,
    parse_region,
    run_and,
    save_stored,
)
from mera.cli.pieces import pieces_of
from mera.cli.sources import examples_of, folder_of, select_class
from mera.cli.terminal import Json, console, show_json, with_options
from mera.cones import sites_of
from mera.data import class_numbers
from mera.data.picture_files import read_picture
from mera.data.stored_pictures import StoredPicture, read_stored
from mera.drawing.images import inpainted, save_figure, save_image
from mera.flow.flow import Flow
from mera.graph.indexing import mask_from_sites
from mera.inpaint import Inpainting, SearchOptions
from mera.inpaint.posterior import Stop
from mera.inpaint.surface import biharmonic

MARGIN = 8
"""The least number of pixels around a hole in its window, and the number in its picture."""
SHOWN = ("likeliest", "surface", "draw", "mean", "sample 1", "sample 2", "spread")
"""The pictures of an inpainting that are drawn, the likeliest filling only without samples."""
SHORT = {"samples": 1, "particles": 0, "steps": 10, "warmup": 4, "iterations": 4}
"""Options by default of the fillings of pieces of a scratch, whose chains are not judged."""


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
    A scratch or specks far apart are filled in pieces, each in a window of its own, quickly unless --samples is passed:
    --keep mean then keeps the likeliest filling, whose error is as small.
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
        if _fill(conditioned, file, before, hidden, (picture, sheet), as_json, options, stored):
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
) -> bool:  # fmt: skip
    """Fill the hidden pixels of a picture, write its pictures, print what was found; return if Ctrl-C came."""
    pieces = [torch.from_numpy(piece) for piece in pieces_of(hidden.numpy())]
    filled, listener = whole, check_console(console, quiet=as_json)
    if len(pieces) > 1:
        if options.get("samples") != 0:
            # one draw has no mean: the likeliest filling of a thin hole has as small an error as the mean of many
            likeliest = {"keep": "likeliest"} if options.get("keep") == "mean" and "samples" not in options else {}
            options = SHORT | options | likeliest
        lattice = graph.Lattice(len(whole), tuple(hidden.shape), (False, False))
        smooth = biharmonic(whole[None].double(), hidden, lattice)[0]
        filled = torch.where(hidden, smooth.round().to(whole), whole)
    implausible, filled_pieces, stop, result = 0, 0, Stop(), None
    with ProgressBar("pieces", listener, at_once=len(pieces) > 1) as bar, stop:
        for number, piece in enumerate(pieces, start=1):
            shown = listener if len(pieces) == 1 else check_console(None, quiet=True)
            found = _Window(flow, file, filled, piece)
            result = found.flow.inpaint(found.x, found.hidden, console=shown, **options)
            filled, implausible = found.paste(filled, result), implausible + (not result.plausible)
            filled_pieces = number
            if len(pieces) > 1:
                bar.update(number, number / len(pieces), "")
            if result.stopped:
                break
    if result is None:
        raise KeyboardInterrupt  # before anything was filled
    stopped = stop.requested or result.stopped
    if stored is None:
        save_image(filled, pictures[0])
        stopping.done.append(str(pictures[0]))
    else:
        save_stored(stored.with_pixels(filled, hidden), pictures[0], file)
        if clear := int((stored.upright[..., -1][hidden.numpy()] == 0).sum()) * stored.has_alpha:
            typer.echo(f"{file}: {clear:,} filled pixels are transparent, and stay so", err=True)
    if len(pieces) == 1:
        save_figure(found.figure(result), pictures[1])
    else:
        near = _near(hidden)
        both = {"the image": whole[:, *near], "filled": filled[:, *near]}
        save_figure(inpainted(both, hidden[near], f"{len(pieces)} pieces", width=4.4), pictures[1])
    masked, plausible = int((found.hidden if len(pieces) == 1 else hidden).sum()), implausible == 0
    numbers: dict[str, Any] = {
        "file": str(file), "pieces": len(pieces), "blocks": result.blocks, "stopped": stopped,
        "kept": result.kept, "plausible": plausible, "masked_pixels": masked,
    }  # fmt: skip
    if len(pieces) == 1:
        numbers |= {
            "pixels": found.hidden.numel(), "varied": result.varied, "variables": found.x.numel(),
            "log_prob": result.log_prob.item(), "log_prob_of_likeliest": result.history.max().item(),
            "log_prob_of_image": found.flow.log_prob(found.x).item(),
        }  # fmt: skip
    if result.convergence is not None and len(pieces) == 1:
        numbers |= asdict(result.convergence) | {"mixed": result.convergence.mixed}
    if as_json:
        show_json(numbers | {"pictures": [str(path) for path in pictures]})
        return stopped
    if len(pieces) > 1:
        if stopped:
            console.print(f"{filled_pieces} of {len(pieces)} pieces filled; the others have the smooth surface")
        else:
            console.print(f"{masked:,} pixels filled in {len(pieces)} pieces, each in a window of its own")
    else:
        console.print(
            "{masked_pixels:,} of {pixels:,} pixels filled by varying {varied:,} of {variables:,} variables: "
            "log p {log_prob:.1f} of the filled image, {log_prob_of_likeliest:.1f} with the likeliest filling, "
            "{log_prob_of_image:.1f} of the original, in nats".format(**numbers)
        )
    if stopped:
        console.print("stopped: the pictures show the best filling so far")
    elif result.blocks > 1:
        console.print(f"filled in {result.blocks} blocks in turn, each given those before it")
    if not plausible:
        of_pieces = f" in {implausible} of {len(pieces)} pieces" if len(pieces) > 1 else ""
        console.print(f"implausible{of_pieces}: no filling was as likely as the smooth surface, which is kept")
    if result.convergence is not None and len(pieces) == 1:
        console.print(f"samples: {result.convergence.verdict}")
    for path in pictures:
        console.print(f"  {path}")
    return stopped


class _Window:
    """The part of a picture (C, H, W) around masked pixels (H, W) that a flow fills.

    Attributes:
        flow: the flow of the size of the window.
        span: the rows and the columns of the window.
        before: the window, (1, C, h, w) uint8.
        x: the window in the flow's own space.
        hidden: the masked pixels of the window, (h, w).
    """

    def __init__(self, flow: Flow, file: Path, whole: Tensor, hidden: Tensor) -> None:
        self.span = _window(hidden, flow)
        beyond = [(0, max(span.stop - n, 0)) for span, n in zip(self.span, hidden.shape, strict=True)]
        if any(rows for _, rows in beyond):
            typer.echo(f"{file}: reflected at its lower and right border, to fit the flow", err=True)
        before = torch.from_numpy(np.pad(whole, [(0, 0), *beyond], "reflect"))[:, *self.span]
        inside = torch.from_numpy(np.pad(hidden, beyond, "reflect"))[self.span]
        self.flow = flow if inside.shape == flow.plan.input.shape else flow.resized(inside.shape)
        self.before, self.hidden = before.to(flow.device)[None], inside.to(flow.device)
        self.x = self.flow.from_images(self.before)

    def paste(self, whole: Tensor, result: Inpainting) -> Tensor:
        """The picture with the filling in its place."""
        whole = whole.clone()
        height, width = whole[:, *self.span].shape[1:]
        kept = torch.where(self.hidden, self.flow.to_images(result.image)[0], self.before[0])
        whole[:, *self.span] = kept[:, :height, :width].cpu()
        return whole

    def figure(self, result: Inpainting) -> Any:
        """The surroundings of the hole: masked, with a draw, the mean, two other draws, and their spread."""
        drawn = result.pictures or {}
        images = {name: drawn[name] for shown in SHOWN for name in drawn if name.partition(",")[0] == shown}
        ordered = {name: image for name, image in images.items() if name != "likeliest" or len(images) == 1}
        near = _near(self.hidden)
        shown = {"the image": self.before[0][:, *near]}
        for name, image in ordered.items():
            shown[name] = torch.where(self.hidden, image, 0 if "spread" in name else self.before[0])[:, *near]
        return inpainted(shown, self.hidden[near], str(result.convergence or ""), width=2.2)


def _near(hidden: Tensor) -> tuple[slice, slice]:
    """The rows and the columns of the masked pixels, and a margin around them."""
    rows, columns = (hidden.any(1 - axis).nonzero()[:, 0] for axis in range(2))
    high, wide = (slice(max(int(at[0]) - MARGIN, 0), int(at[-1]) + 1 + MARGIN) for at in (rows, columns))
    return high, wide


def _window(hidden: Tensor, flow: Flow) -> tuple[slice, ...]:
    """The rows and the columns of a window around the masked pixels (H, W), whose edges fit the flow.

    They end beyond the image if no edge within it has room for the hole.
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


inpaint_command = with_options(_inpaint, options_for(SearchOptions, "Search"))
