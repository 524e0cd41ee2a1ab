"""The command `mera explore`: a page for a browser on which the causal cones of a flow light up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mera import models
from mera._utils.files import write_atomically
from mera.cli.common import LAYOUT_HELP, check_source, console, model_commands, model_options
from mera.cli.lazy import OPTIONS, lazy_group
from mera.cli.options import signature_options, with_options
from mera.cli.sources import SOURCE_HELP, load_flow
from mera.graph import Plan, compile
from mera.io.layouts import load_layout
from mera.symmetrized import underlying

__all__ = ["app"]

Html = Annotated[Path, typer.Option("--html", help="The HTML to write.", metavar="FILE", rich_help_panel="Output")]
OUT = Path("cones.html")


def _where(html: Html = OUT) -> None:
    """A function whose signature declares the options of all forms of the command."""


def _explore_model(model: str, html: Path, **values: Any) -> None:
    """The command `mera explore MODEL`."""
    _write_page(models.build(model, **model_options(model, values)).plan, model, html)


def _explore_path(path: Annotated[Path, typer.Argument(help=SOURCE_HELP)], html: Html = OUT) -> None:
    """Write a page on which the cones of the flow of a run, or of a file, light up."""
    _write_page(underlying(load_flow(path)).plan, path.name, html)


def _write_page(plan: Plan, title: str, html: Path) -> None:
    """Write the page."""
    from mera.drawing import cone_page

    write_atomically(html, cone_page(plan, title, console).encode())
    console.print(f"open {html} in a browser: it is one file, and needs no server")


_commands = model_commands(_explore_model, signature_options(_where))
app = typer.Typer(cls=lazy_group(_commands, with_options(_explore_path, signature_options(_explore_path))), **OPTIONS)


@app.callback(invoke_without_command=True)
def _explore(
    context: typer.Context,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
    html: Html = OUT,
) -> None:
    """Write a page for a browser on which the causal cones of a model, a run or a layout light up."""
    check_source(context, layout)
    if layout is not None:
        _write_page(compile(load_layout(layout)), layout.name, html)
