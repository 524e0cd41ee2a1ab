"""Commands with a sub-command for each model, and commands that act on a flow from any source."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mera import models
from mera.cli.declared_options import USUAL, options_for, signature_options
from mera.cli.lazy import OPTIONS, as_app, lazy_group, refuse_before_command, sources, with_options
from mera.cli.sources import SOURCE_HELP, load_flow
from mera.flow.flow import Flow
from mera.graph import Layout
from mera.graph.layout_error import within
from mera.models.saving import load_layout

LAYOUT_HELP = "A layout of your own in a TOML file, in place of a model; see mera.save_layout."


def flow_of(path: Path, layout: Layout, prior: Any = "gaussian", classes: int | None = None) -> Flow:
    """Make a flow of a layout that was read from a file."""
    with within(str(path)):
        return Flow(layout, prior, classes=classes)


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


class FlowSource(NamedTuple):
    """The flow that a command acts on.

    Attributes:
        make: makes the flow, so that a command can check its options first.
        title: a name for the flow.
        path: the run or the file of the flow; None for a model or a layout.
    """

    make: Callable[[], Any]
    title: str
    path: Path | None = None


def flow_app(act: Callable[..., None]) -> typer.Typer:
    """Make the application of a command that takes a model, the path of a run or of a file, or a layout."""
    options = signature_options(act)[1:]

    def of_model(model: str, **values: Any) -> None:
        arguments = {option.name: values.pop(option.name) for option in options}
        act(FlowSource(lambda: models.build(model, **model_options(model, values)), model), **arguments)

    def of_path(path: Annotated[Path, typer.Argument(help=SOURCE_HELP, autocompletion=sources)], **values: Any) -> None:
        act(FlowSource(lambda: load_flow(path), path.stem, path), **values)

    def of_layout(
        context: typer.Context,
        layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
        **values: Any,
    ) -> None:
        refuse_before_command(context)
        if (layout is None) == (context.invoked_subcommand is None):
            raise typer.BadParameter(f"Expected a model ({', '.join(models.names())}), a RUN or --layout FILE")
        if layout is not None:
            act(FlowSource(lambda: flow_of(layout, load_layout(layout)), layout.stem), **values)

    for function in (of_path, of_layout):
        function.__doc__ = inspect.getdoc(act)
    path_command = with_options(of_path, signature_options(of_path), options)
    app = typer.Typer(cls=lazy_group(model_commands(of_model, options), path_command), **OPTIONS)
    app.callback(invoke_without_command=True)(with_options(of_layout, signature_options(of_layout), options))
    return app
