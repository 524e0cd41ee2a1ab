"""The command `mera explore`: a page for a browser on which the causal cones of a flow light up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mera._utils.files import write_atomically
from mera.cli.common import console
from mera.cli.flow_app import MakeFlow, flow_app

__all__ = ["app"]

Html = Annotated[Path, typer.Option("--html", help="The HTML to write.", metavar="FILE", rich_help_panel="Output")]
OUT = Path("cones.html")


def _options(html: Html = OUT) -> None:
    """A function whose signature declares the options of the command."""


def _explore(make_flow: MakeFlow, title: str, html: Path) -> None:
    """Write a page for a browser on which the causal cones of a model, a run or a layout light up."""
    from mera.drawing import cone_page

    write_atomically(html, cone_page(make_flow().plan, title, console).encode())
    console.print(f"open {html} in a browser: it is one file, and needs no server")


app = flow_app(_explore, _options)
