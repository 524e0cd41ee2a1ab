"""The command `mera figures`: the figures of the RG-Flow paper for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from mera import data
from mera._utils.files import make_folder
from mera._utils.progress import ProgressBar
from mera._utils.table import Table
from mera.cli.common import Device, Root, choose_device, configured, console, load_flow, show
from mera.cli.lazy import OPTIONS
from mera.flow import Flow
from mera.train.run import RunFolder

__all__ = ["app"]

app = typer.Typer(**OPTIONS)


@app.command(no_args_is_help=True)
def _figures(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a run, or a file that mera.save wrote.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the pictures; RUN/figures if left out.", metavar="DIR", rich_help_panel="Output"),
    ] = None,
    only: Annotated[str | None, typer.Option(help="The figures to draw, all if left out.", metavar="N[,N...]")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the figures, and draw none.")] = False,
    root: Root = None,
    device: Device = "auto",
) -> None:
    """Draw the figures of the RG-Flow paper for a run: receptive fields, traversals, mixing, samples."""
    from mera.drawing.images import save_figure
    from mera.drawing.paper import FIGURES

    if show_list:
        show(Table(["figure", "what it shows"], [(name, figure.title) for name, figure in FIGURES.items()]))
        return
    if run is None:
        raise typer.BadParameter("Expected a RUN, or --list")
    names = list(FIGURES) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in names if name not in FIGURES]:
        raise typer.BadParameter(f"Expected figures among {', '.join(FIGURES)}; got {', '.join(unknown)}")
    flow = load_flow(run).to(choose_device(device))
    if not isinstance(flow, Flow) or flow.plan.input.dim != 2 or flow.plan.input.channels not in (1, 3):
        raise ValueError(f"Expected a flow of images, with 1 or 3 channels in two dimensions; got {flow.plan.input}")
    images = _images(run, flow, root)
    out = (run if run.is_dir() else run.parent) / "figures" if out is None else out
    make_folder(out)
    with ProgressBar("draw", console, "figure") as progress_bar:
        for number, name in enumerate(names, start=1):
            path = out / f"figure_{name}.png"
            save_figure(FIGURES[name].draw(flow, images), path)
            progress_bar.update(number, number / len(names), f"Fig. {name}")
            console.print(f"  {path}: {FIGURES[name].title}")


def _images(run: Path, flow: Flow, root: Path | None) -> torch.Tensor:
    """Test images of a run; samples of the flow if it is a file."""
    if run.is_dir():
        return data.first(configured(RunFolder(run), flow.plan.input.event_shape, root)[0].test, 16)
    return flow.to_images(flow.sample(16))
