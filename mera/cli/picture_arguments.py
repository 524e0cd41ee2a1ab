"""Arguments of the commands for pictures: a flow, pictures, and the names of the results beside them."""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera.cli import stopping
from mera.cli.sources import PHOTOGRAPHS, SOURCE_HELP, learnt_fields, load_flow
from mera.cli.terminal import sources
from mera.data.picture_files import SUFFIXES
from mera.data.stored_pictures import StoredPicture
from mera.drawing.images import png_path
from mera.flow.flow import Flow

Out = Annotated[Path | None, typer.Option(help="The PNG to write, in place of the usual name.", metavar="FILE")]
SCALE: Any = typer.Option(min=1, help="The longer edge in pixels to which pictures are reduced.")


def run_and(help_text: str, metavar: str) -> Any:
    """The declaration of the arguments of a command: a run or none, and then pictures."""
    help_text = f"{SOURCE_HELP} If left out, {PHOTOGRAPHS}. Then {help_text}"
    return typer.Argument(help=help_text, metavar=f"[RUN] {metavar}", autocompletion=sources)


def flow_and_pictures(
    paths: Sequence[Path], device: str, least: int = 1, fields: bool = False, L: Any = None
) -> tuple[Path, Flow, Sequence[Path]]:
    """From pictures, with or without a run before them: the run, its flow on two dimensions, and the pictures.

    The first path is a run if there are more than `least` and it has no suffix of a picture or an array.
    """
    has_run = len(paths) > least and not is_picture(paths[0])
    run, pictures = (paths[0], paths[1:]) if has_run else (Path(PHOTOGRAPHS), paths)
    if len(pictures) < least:
        raise typer.BadParameter(f"Expected {least} pictures or more, and a run before them or none")
    for picture in pictures:
        if least and not picture.exists():
            raise InputError(f"a picture in {picture}", "no such file")
    flow = load_flow(run, device, L)
    if not isinstance(flow, Flow) or flow.plan.input.dim != 2:
        raise InputError("a run of a Flow on two dimensions", f"a {type(flow).__name__} in {run}")
    if not fields and learnt_fields(run):
        raise InputError("a run that learnt images", f"fields in {run}")
    return run, flow, pictures


def is_picture(path: Path) -> bool:
    """Return whether a path is that of a picture or an array, by its suffix, rather than that of a flow."""
    return path.suffix.lower() in SUFFIXES | {".npy"}


def name_of(picture: Path, others: Sequence[Path] = ()) -> str:
    """The name of a picture without its suffix; with it, as in a_webp, if one of another suffix lies beside it."""
    beside_it = [*picture.parent.glob(f"{escape(picture.stem)}.*"), *others]
    same = {p.name for p in beside_it if (p.parent, p.stem) == (picture.parent, picture.stem) and is_picture(p)}
    return picture.name.replace(".", "_") if same - {picture.name} else picture.stem


def beside(
    pictures: Sequence[Path], endings: Sequence[str], out: Path | None = None, inputs: Sequence[Path] = ()
) -> list[Path]:
    """The PNGs to write for pictures: PICTURE_ending.png beside each, or `out` for a single one.

    They are checked before the work begins; `announce` names those that will be replaced.

    Raises:
        ValueError: if there are several pictures and `out`, if `out` is not a PNG, or if two results, or a result and a
            picture or another of the `inputs`, would have one path.
    """
    if out is not None and len(pictures) > 1:
        raise InputError("one picture with --out", f"{len(pictures)} pictures")
    names = zip(pictures, endings, strict=True)
    usual = [picture.with_name(f"{name_of(picture, pictures)}_{ending}.png") for picture, ending in names]
    paths = [png_path(path) for path in (usual if out is None else [out])]
    read = {path.resolve() for path in (*pictures, *inputs)}
    for number, path in enumerate(paths):
        if path.resolve() in read or path in paths[:number]:
            raise InputError("results with different names: pass --out, or one picture at a time", f"{path} twice")
        make_folder(path.parent)
    return paths


def announce(*paths: Path) -> None:
    """Name files that will be replaced, once everything that is read is known to be right."""
    for path in paths:
        if path.exists():
            typer.echo(f"{path}: will be replaced", err=True)


def save_stored(stored: StoredPicture, picture: Path, source: Path) -> None:
    """Write a picture with the metadata of its file, and print in one line what cannot be kept."""
    stored.save(picture)
    stopping.done.append(str(picture))
    if stored.lost:
        typer.echo(f"{source}: {picture.name} does not keep {', '.join(stored.lost)}", err=True)


def parse_region(text: str) -> tuple[slice, ...]:
    """Parse a region of the command line, START:STOP or a site for each dimension, to slices; refuse any other text.

    >>> parse_region("8:16,5")
    (slice(8, 16, None), slice(5, 6, None))
    """
    try:
        parts = [[int(end) for end in part.split(":")] for part in str(text).split(",")]
        pairs = [(part[0], part[0] + 1) if len(part) == 1 else part for part in parts]
        return tuple(slice(start, stop) for start, stop in pairs)
    except ValueError:
        raise InputError("a region such as 8:16,8:16, START:STOP for each dimension", repr(text)) from None
