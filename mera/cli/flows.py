"""The commands `mera info` and `explore`, of a flow from any source; and a sub-command for each model."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mera import models
from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera.cli.options import USUAL, options_for
from mera.cli.sources import PHOTOGRAPHS, SOURCE_HELP, learnt_fields, load_flow
from mera.cli.terminal import (
    OPTIONS,
    as_app,
    console,
    lazy_group,
    show,
    signature_options,
    sources,
    with_options,
)
from mera.data import photograph
from mera.data.picture_files import read_picture
from mera.models.saving import load_layout_flow

LAYOUT = ".toml"
"""The suffix of the file of a layout, which every command takes in place of a model."""


def model_options(model: str, values: dict[str, Any]) -> dict[str, Any]:
    """Select the options of a model, and its preset, from the options of a command; None is an option left out."""
    names = ["preset", *inspect.signature(models.builder(model)).parameters]
    return {name: values[name] for name in names if values.get(name) is not None}


def _preset_option(model: str) -> list[inspect.Parameter]:
    """The option `--preset` of a model that has presets, as a list; otherwise an empty list."""
    if not models.presets(model):
        return []
    option = typer.Option(help=f"Other defaults: {', '.join(models.presets(model))}.", rich_help_panel="Model")
    annotation = Annotated[str | None, option]
    return [inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)]


def model_commands(
    run: Callable[..., None], before: Sequence[inspect.Parameter] = (), after: Sequence[inspect.Parameter] = ()
) -> dict[str, tuple[str, Callable[[], typer.Typer]]]:
    """Make a command for each model that calls `run(name, **values)` with the values of its options."""

    def application(name: str) -> typer.Typer:
        options = [*before, *_preset_option(name), *options_for(models.builder(name), "Model"), *after]
        usual = sorted((o for o in options if o.name in USUAL), key=lambda option: USUAL.index(option.name))
        command = with_options(partial(run, name), usual, [o for o in options if o.name not in USUAL])
        command.__doc__ = _summary(name)
        return as_app(command, name)

    return {name: (_summary(name), partial(application, name)) for name in models.names()}


def _summary(model: str) -> str:
    """The first paragraph of a model's docstring."""
    return (inspect.getdoc(models.builder(model)) or "").split("\n\n")[0]


def flow_app(act: Callable[..., None]) -> typer.Typer:
    """Make the application of a command that takes a model, or the path of a run, of a flow or of a layout.

    Args:
        act: called with a function that makes the flow, so that options are checked first, the name of the model or
            the path, and the options of the command.
    """
    options = signature_options(act)[2:]

    def of_model(model: str, **values: Any) -> None:
        arguments = {option.name: values.pop(option.name) for option in options}
        act(lambda: models.build(model, **model_options(model, values)), model, **arguments)

    def of_path(path: Annotated[Path, typer.Argument(help=SOURCE_HELP, autocompletion=sources)], **values: Any) -> None:
        act(partial(load_layout_flow if path.suffix == LAYOUT else load_flow, path), path, **values)

    of_path.__doc__ = inspect.getdoc(act)
    app = typer.Typer(cls=lazy_group(model_commands(of_model, options), with_options(of_path, options)), **OPTIONS)
    app.callback(help=f"{of_path.__doc__}\n\nOptions follow the model or the path; `--help` after it lists them.")(
        lambda: None
    )
    return app


def _info(
    make: Callable[[], Any],
    source: str | Path,
    picture: Annotated[Path | None, typer.Option(help="Draw the layout, and write this PNG.", metavar="FILE")] = None,
) -> None:
    """Show the plan and the parameters of a model, a run, a file of a flow, or a layout of your own."""
    flow = make()
    summary, plan = flow.summary, flow.plan
    show(summary.title, "", summary.nodes, "", summary.levels, "", plan.table, plan.legend)
    if picture is not None:
        from mera.drawing import draw_layout
        from mera.drawing.images import png_path, save_figure

        picture = png_path(picture)
        save_figure(draw_layout(flow.layout, title=Path(source).stem), picture)
        show(f"picture: {picture}")


def _explore(
    make: Callable[[], Any],
    source: str | Path,
    image: Annotated[
        Path | None, typer.Option(help="A picture to begin with; if left out, a sample, or a cat for photographs.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the cones into an HTML file; start no server.", metavar="FILE")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on this machine; a free one if left out.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Explore a model, a run or a layout in a browser: its levels and latents, fillings, a map of its cost.

    The page is served to this machine only, and only to browsers that open the printed address with its token. Needs
    the extra `explore`, unless `--html` is passed.
    """
    title = Path(source).stem
    if html is not None:
        if port is not None or image is not None:
            raise typer.BadParameter("--html starts no server: leave out --port and --image")
        from mera.drawing import cone_page

        write_atomically(html, cone_page(make().plan, title, console).encode())
        console.print(f"open {html} in a browser: it is one file, and needs no server")
        return
    from mera.explore import Explorer

    if isinstance(source, Path) and learnt_fields(source):
        raise InputError("a run that learnt images, or --html", f"fields in {source}")
    flow = make()
    pixels = photograph() if str(source) == PHOTOGRAPHS else None
    if image is not None:
        pixels = read_picture(image, flow.plan.input.channels, 1024)  # as an upload
    explorer = Explorer(flow, title, port, pixels)
    console.print(f"exploring {title} at {explorer.address} (Ctrl-C ends it)")
    explorer.run(show=browser)
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that still compute, which cannot be stopped


info_command, explore_command = flow_app(_info), flow_app(_explore)
