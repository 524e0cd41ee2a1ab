"""Functions and options that several commands use."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import models
from mera._utils.allocator import tune_allocator
from mera._utils.errors import InputError
from mera.cli.declared_options import assignments, integers, options_for, usual_first
from mera.cli.lazy import OPTIONS, with_options
from mera.flow.flow import Flow
from mera.graph import Layout
from mera.graph.layout_error import within

tune_allocator()

LAYOUT_HELP = "A layout of your own in a TOML file, in place of a model; see mera.save_layout."
Root = Annotated[
    Path | None, typer.Option(help="Folder of the run's data, if it was moved.", metavar="DIR", rich_help_panel="Data")
]
Download = Annotated[bool, typer.Option("--download", help="Download missing files.", rich_help_panel="Data")]
DataOptions = Annotated[
    Any,
    typer.Option(parser=assignments, metavar="NAME=VALUE ...", help="Options of the data set.", rich_help_panel="Data"),
]
Lattice = Annotated[
    Any,
    typer.Option(
        "--L", parser=integers, metavar="INT[,INT...]", help="Edge of another lattice, or all its edges, for the flow."
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]


def flow_of(path: Path, layout: Layout, prior: Any = "gaussian", classes: int | None = None) -> Flow:
    """Make a flow of a layout that was read from a file.

    Args:
        path: the file, which the message of a `LayoutError` names.
        layout: the layout.
        prior: see `mera.Prior`.
        classes: the number of classes, for a flow that is conditional on a class.
    """
    with within(str(path)):
        return Flow(layout, prior, classes=classes)


def choose_device(name: str) -> torch.device:
    """Return a device by name, a ValueError if it is not available on this machine.

    Args:
        name: a device name of PyTorch, or "auto": CUDA if available, otherwise the CPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # each process of a distributed run uses its own GPU
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError("a device that torch has here", f"{name!r}: {str(error).splitlines()[0][:100]}") from error
    return torch.device(name)


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
    """Make a command for each model that calls `run(name, **values)` with the values of its options.

    Args:
        run: the function to call with the name of the model, and the options by name.
        before: options that precede those of the model.
        after: options that follow those of the model.

    Returns:
        The commands as `mera.cli.lazy.lazy_group` takes them.
    """

    def application(name: str) -> typer.Typer:
        app = typer.Typer(**OPTIONS)
        options = _preset_option(name) + options_for(models.builder(name), "Model")
        command = with_options(partial(run, name), usual_first([*before, *options, *after]))
        app.command(name, help=_summary(name))(command)
        return app

    return {name: (_summary(name), partial(application, name)) for name in models.names()}


def _summary(model: str) -> str:
    """The first paragraph of a model's docstring."""
    return (inspect.getdoc(models.builder(model)) or "").split("\n\n")[0]
