"""Functions and options that commands share: the console, devices, runs, the options of models."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from mera import models
from mera._utils.allocator import tune_allocator
from mera._utils.errors import InputError
from mera.cli.declared_options import assignments, options_for, with_options
from mera.cli.lazy import OPTIONS, refuse_before_command
from mera.density import Density
from mera.display.table import Table
from mera.flow import Flow
from mera.graph import Layout, LayoutError
from mera.train.likelihoods import ImageLikelihood, likelihood_of
from mera.train.processes import is_main

tune_allocator()
console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_main())

LAYOUT_HELP = "A layout of your own in a TOML file, in place of a model; see mera.save_layout."
Root = Annotated[
    Path | None,
    typer.Option(help="Where the run's data is now, if it was moved.", metavar="DIR", rich_help_panel="Data"),
]
Download = Annotated[bool, typer.Option("--download", help="Download missing files.", rich_help_panel="Data")]
DataOptions = Annotated[
    Any,
    typer.Option(parser=assignments, metavar="NAME=VALUE ...", help="Options of the data set.", rich_help_panel="Data"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, in place of text for people.")]


def show(*parts: Table | str) -> None:
    """Print texts and tables; a table that is wider than the terminal as one line for each cell.

    Args:
        parts: the texts and the tables.
    """
    for part in parts:
        if isinstance(part, Table) and console.is_terminal:
            console.print(part.fit(console.width))
        else:
            console.print(str(part))


def flow_of(path: Path, layout: Layout, prior: Any = "laplace", classes: int | None = None) -> Flow:
    """Make a flow of a layout that was read from a file.

    Args:
        path: the file, for messages.
        layout: the layout.
        prior: the prior; see `mera.Prior`.
        classes: the number of classes, for a flow that is conditional on a class.

    Raises:
        LayoutError: if the layout is not a bijection; the message names the file.
    """
    try:
        return Flow(layout, prior, classes=classes)
    except LayoutError as error:
        raise LayoutError.from_error(error, source=str(path)) from error


def check_source(context: typer.Context, layout: Path | None) -> None:
    """Refuse a command without a model, a run or a layout, or with two of them.

    Args:
        context: the context of the group whose commands are models.
        layout: the value of its option `--layout`.

    Raises:
        BadParameter: if there is no source of a flow, or more than one, or options stand before it.
    """
    refuse_before_command(context)
    if (layout is None) == (context.invoked_subcommand is None):
        raise typer.BadParameter(f"Expected a model ({', '.join(models.names())}), a RUN or --layout FILE")


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: a name of torch, or "auto" for the accelerator if there is one and else the CPU.

    Raises:
        ValueError: if torch has no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # each of several processes has a device of its own
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError("a device that torch has here", f"{name!r}: {str(error).splitlines()[0][:100]}") from error
    return torch.device(name)


@torch.no_grad()
def rebuild_error(flow: Density, examples: torch.Tensor, context: torch.Tensor | None = None) -> float:
    """The largest change of a variable, in the flow's own space, when examples are mapped to latents and back.

    Args:
        flow: the flow.
        examples: uint8 images or fields of floats, (B, C, *shape).
        context: for a conditional flow, the context of each example.
    """
    x = flow.from_images(examples) if likelihood_of(examples[0]) is ImageLikelihood else examples.to(flow.dtype)
    bijection = flow.flow
    return (bijection.inverse(bijection(x, context)[0], context)[0] - x).abs().max().item()


def model_options(model: str, values: dict[str, Any]) -> dict[str, Any]:
    """The options of a model, and its preset, that were passed on the command line.

    Args:
        model: the name of the model.
        values: the values of all options of the command, None where an option was left out.
    """
    names = ["preset", *inspect.signature(models.builder(model)).parameters]
    return {name: values[name] for name in names if values.get(name) is not None}


def _preset_option(model: str) -> list[inspect.Parameter]:
    """The option `--preset`, for a model that has presets."""
    if not models.presets(model):
        return []
    option = typer.Option(help=f"Other defaults: {', '.join(models.presets(model))}.", rich_help_panel="Model")
    annotation = Annotated[str | None, option]
    return [inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)]


def model_commands(
    run: Callable[..., None],
    before: list[inspect.Parameter] | None = None,
    after: list[inspect.Parameter] | None = None,
) -> dict[str, tuple[str, Callable[[], typer.Typer]]]:
    """A command for each model, which calls `run(name, **values)` with the values of its options.

    Args:
        run: the function to call with the name of the model, and the options by name.
        before: options that stand before those of the model.
        after: options that stand behind those of the model.

    Returns:
        The commands as `mera.cli.lazy.lazy_group` takes them.
    """

    def application(name: str) -> typer.Typer:
        app = typer.Typer(**OPTIONS)
        builder = models.builder(name)
        options = _preset_option(name) + options_for(builder, "Model")
        command = with_options(partial(run, name), before or [], options, after or [])
        app.command(name, help=_summary(name))(command)
        return app

    return {name: (_summary(name), partial(application, name)) for name in models.names()}


def _summary(model: str) -> str:
    """The first sentence about a model; an entry point that cannot be loaded has its error in place of it."""
    try:
        return (inspect.getdoc(models.builder(model)) or "").split("\n\n")[0]
    except ValueError as error:
        return str(error)
