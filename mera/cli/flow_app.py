"""Commands that act on a flow from any source: a model, a run, a file, or a layout of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mera import models
from mera.cli.common import LAYOUT_HELP, flow_of, model_commands, model_options
from mera.cli.completion import sources
from mera.cli.declared_options import signature_options
from mera.cli.lazy import OPTIONS, lazy_group, refuse_before_command, with_options
from mera.cli.sources import SOURCE_HELP, load_flow
from mera.models.saving import load_layout


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
    """Make the application of a command that takes a model, the path of a run or of a file, or a layout.

    Args:
        act: runs the command, `act(source, **values)`; its signature declares the options, its docstring is the help.
    """
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
