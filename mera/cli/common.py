"""What the commands share: the application, devices, the options of models."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

import mera
from mera import data, models
from mera.cli.options import options_for, with_options
from mera.data import ImageSplits
from mera.flow import Flow
from mera.graph import Layout, LayoutError
from mera.io.flows import rebuild_empty
from mera.train import RunFolder, Settings, is_main

__all__ = [
    "LAYOUT_HELP",
    "PLAIN",
    "Device",
    "add_for_each_model",
    "app",
    "choose_device",
    "configured",
    "configured_flow",
    "console",
    "flow_of",
    "given",
    "rebuild_error",
]

console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_main())
PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Hierarchical normalizing flows.", **PLAIN)

LAYOUT_HELP = "In place of a model: a layout of your own in a TOML file; see mera.save_layout."
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]


def _show_version(asked: bool) -> None:
    if asked:
        print(f"mera {mera.__version__}")
        raise typer.Exit


@app.callback()
def _versioned(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version, and end.")
    ] = False,
) -> None:
    """Hierarchical normalizing flows."""


def flow_of(path: Path, layout: Layout, prior: Any = "laplace", classes: int | None = None) -> Flow:
    """A flow of a layout from a file, which is named if it is no bijection."""
    try:
        return Flow(layout, prior, classes=classes)
    except LayoutError as error:
        raise LayoutError.from_error(error, source=str(path)) from error


def configured(run: RunFolder) -> tuple[ImageSplits, Settings]:
    """The data and the settings of a run.

    Raises:
        ValueError: if its configuration does not say what it should.
    """
    with _reading(run) as config:
        return data.load(**config["data"]), Settings(**config["settings"])


def configured_flow(run: RunFolder) -> Flow:
    """The flow of a run with new weights, whatever has become of its file.

    Raises:
        ValueError: if the run's configuration does not say how it was built.
    """
    with _reading(run) as config:
        return rebuild_empty(config)


@contextmanager
def _reading(run: RunFolder) -> Iterator[dict[str, Any]]:
    """The configuration of a run, and what to say of one that does not hold what is looked for."""
    try:
        yield run.config()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"Expected model, data and settings of a run in {run.path}; got a configuration with {error!r}"
        ) from error


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is the accelerator if there is one.

    Raises:
        ValueError: if torch has no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # of several processes, each has its own
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"Expected a device that torch has here; got {name!r}: {str(error).splitlines()[0]}"
        ) from error
    return torch.device(name)


@torch.no_grad()
def rebuild_error(flow: Flow, images: torch.Tensor, context: torch.Tensor | None = None) -> float:
    """The largest change of a variable, in the flow's own space, on the way to the latents and back."""
    x = flow.from_images(images)
    return (flow.inverse(flow(x, context)[0], context)[0] - x).abs().max().item()


def given(model: str, values: dict[str, Any]) -> dict[str, Any]:
    """The options of a model, and its preset, that the user gave."""
    names = ["preset", *inspect.signature(models.builder(model)).parameters]
    return {name: values[name] for name in names if values.get(name) is not None}


def _preset_option(model: str) -> list[inspect.Parameter]:
    """`--preset`, for a model that has some."""
    if not models.presets(model):
        return []
    option = typer.Option(help=f"Other defaults: {', '.join(models.presets(model))}.")
    annotation = Annotated[str | None, option]
    return [inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)]


def add_for_each_model(
    to: typer.Typer,
    run: Callable[..., None],
    before: list[inspect.Parameter] | None = None,
    after: list[inspect.Parameter] | None = None,
) -> None:
    """A command for each model, `run(name, **values)`: its options are those of the model, between two other groups."""
    for name in models.names():
        builder = models.builder(name)
        summary = (inspect.getdoc(builder) or "").split("\n\n")[0]
        options = _preset_option(name) + options_for(builder)
        to.command(name, help=summary)(with_options(partial(run, name), before or [], options, after or []))
