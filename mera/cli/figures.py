"""The command `mera figures`: the figures of the RG-Flow paper for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera._utils.progress import ProgressBar
from mera._utils.table import Table
from mera.cli.common import Class, Device, Root, choose_device, class_indices, select_class, set_threads
from mera.cli.lazy import sources
from mera.cli.output import console, show
from mera.cli.sources import SOURCE_HELP, folder_of, known_examples, load_flow, samples_of
from mera.flow.flow import Flow

IMAGES = 500
"""The number of test images for statistics of latents; most figures show only a few images."""


def command(
    run: Annotated[Path | None, typer.Argument(help=SOURCE_HELP, autocompletion=sources, show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; RUN/figures if left out.", metavar="DIR")
    ] = None,
    only: Annotated[str | None, typer.Option(help="The figures to draw.", metavar="N[,N...]")] = None,
    purpose: Annotated[
        Literal["screen", "paper"],
        typer.Option("--for", help="paper for PDF files at the width of a column, without titles."),
    ] = "screen",
    show_list: Annotated[bool, typer.Option("--list", help="List the figures without drawing them.")] = False,
    label: Class = None,
    root: Root = None,
    device: Device = "auto",
) -> None:
    """Draw the figures of the RG-Flow paper for a run: receptive fields, traversals, mixing and samples."""
    from mera.analysis.drawing.images import save_figure, save_for_paper
    from mera.analysis.drawing.paper import FIGURES, Subject

    if show_list:
        show(Table(["figure", "what it shows"], [(name, figure.title) for name, figure in FIGURES.items()]))
        return
    names = list(FIGURES) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in names if name not in FIGURES]:
        raise typer.BadParameter(f"Expected figures among {', '.join(FIGURES)}; got {', '.join(unknown)}")
    if run is None:
        raise typer.BadParameter("Expected a RUN, or --list")
    flow = load_flow(run).to(choose_device(device))
    set_threads(flow)
    if not isinstance(flow, Flow) or not flow.plan.input.is_picture:
        raise InputError("a flow of images, with 1 or 3 channels in two dimensions", str(flow.plan.input))
    flow, number = select_class(run, flow, label)
    examples = known_examples(run, flow, root)
    indices = [] if examples is None else class_indices(examples, number)[:IMAGES].tolist()
    images = samples_of(flow, IMAGES) if examples is None else torch.stack([examples[i] for i in indices])
    subject = Subject(flow, images)
    if only is None:
        names = [name for name in names if FIGURES[name].least <= len(subject.images)]
    folder = "figures" if number is None else f"figures_class_{number}"
    out = folder_of(run) / folder if out is None else out
    make_folder(out)
    save, extension = (save_for_paper, "pdf") if purpose == "paper" else (save_figure, "png")
    with ProgressBar("draw", console, "figure") as progress_bar:
        for done, name in enumerate(names, start=1):
            save(FIGURES[name].draw(subject), path := out / f"figure_{name}.{extension}")
            progress_bar.update(done, done / len(names), path.name)
            console.print(f"  {path}")
