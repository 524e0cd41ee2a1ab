"""The command `mera explore`: a local page on which a flow can be explored, or a file with its causal cones."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mera._utils.files import write_atomically
from mera.cli.flow_app import FlowSource, flow_app
from mera.cli.output import console
from mera.cli.sources import PHOTOGRAPHS, learnt_fields
from mera.data import photograph
from mera.data.picture_files import read_picture

Html = Annotated[
    Path | None, typer.Option("--html", help="Write the cones into an HTML file; start no server.", metavar="FILE")
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port on this machine; a free one if left out.")]
Fields = Annotated[bool, typer.Option("--fields", help="Show data as fields of real numbers, even if no run says so.")]
ImageFile = Annotated[
    Path | None, typer.Option(help="A picture to begin with; if left out, a sample, or a cat for photographs.")
]
Browser = Annotated[bool, typer.Option(help="Open the page in a browser.")]


def _explore(
    source: FlowSource,
    image: ImageFile = None,
    html: Html = None,
    fields: Fields = False,
    port: Port = None,
    browser: Browser = True,
) -> None:
    """Explore a model, a run or a layout in a browser: its levels and latents, mixtures, fillings, causal cones.

    The page is served to this machine only, and only to browsers that open the printed address with its token. Needs
    the extra `explore`, unless `--html` is passed.
    """
    if html is not None:
        if port is not None or fields or image is not None:
            raise typer.BadParameter("--html starts no server: leave out --port, --fields and --image")
        from mera.analysis.drawing import cone_page

        write_atomically(html, cone_page(source.make().plan, source.title, console).encode())
        console.print(f"open {html} in a browser: it is one file, and needs no server")
        return
    from mera.explore import Explorer

    is_field = fields or (source.path is not None and learnt_fields(source.path))
    flow = source.make()
    pixels = photograph() if str(source.path) == PHOTOGRAPHS else None
    if image is not None:
        if is_field:
            raise typer.BadParameter("--image is for flows of images, and not for fields")
        pixels = read_picture(image, flow.plan.input.channels, 1024)  # as an upload
    explorer = Explorer(flow, source.title, port, not is_field, pixels)
    console.print(f"exploring {source.title} at {explorer.address} (Ctrl-C ends it)")
    explorer.run(show=browser)
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that still compute, which cannot be stopped


command = flow_app(_explore)
