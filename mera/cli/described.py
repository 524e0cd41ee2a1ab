"""A description of all commands as data, from which help and completion are made without importing torch.

`commands.json` is the description, and `python -m tests.cli.describe` writes it. Commands that run are made from the
code itself.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mera.cli.completion import COMPLETERS, among
from mera.cli.lazy import OPTIONS, lazy_group, with_options

FILE = Path(__file__).with_name("commands.json")
TYPES: dict[str, Any] = {
    text.format(plain.__name__): kind
    for plain in (bool, int, float, str, Path)
    for text, kind in (("{}", plain), ("{} | None", plain | None), ("list[{}]", list[plain]))  # type: ignore[valid-type]
}
"""The types of options, by their names."""
COMPLETING = "_MERA_COMPLETE"
"""The variable of the environment by which a shell asks for completions."""


def is_enough() -> bool:
    """Whether a description serves this call: for help or completion, and no names from outside of the package."""
    asked = COMPLETING in os.environ or not {"-h", "--help"}.isdisjoint(sys.argv[1:])
    extended = any(argument.startswith("--import") for argument in sys.argv)
    return asked and not extended


@cache
def description() -> dict[str, Any]:
    """The description of all commands of the package."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def described(*path: str) -> typer.Typer:
    """Make a command that has the options and the help of the real one, and does nothing.

    Args:
        path: the names of the command and of its groups, such as "train", "rgflow".
    """
    entry = description()["commands"][" ".join(path)]
    parameters = [_parameter(**description()["parameters"][index]) for index in entry["parameters"]]
    command = with_options(lambda **values: None, parameters)
    if entry["members"] is None:
        app = typer.Typer(**OPTIONS)
        app.command(path[-1], help=entry["help"])(command)
        return app
    members = {name: (text, partial(described, *path, name)) for name, text in entry["members"].items()}
    app = typer.Typer(cls=lazy_group(members), **OPTIONS)
    app.callback(invoke_without_command=True, help=entry["help"])(command)
    return app


def _parameter(
    name: str, kind: str | list[str], default: Any, is_required: bool, is_argument: bool, names: list[str], **shown: Any
) -> inspect.Parameter:
    """A parameter for typer, from its description."""
    words = shown.pop("words", None)
    if words is not None:
        shown["autocompletion"] = COMPLETERS[words] if isinstance(words, str) else among(lambda: words)
    info = typer.Argument(**shown) if is_argument else typer.Option(*names, **shown)
    annotation: Any = Annotated[Literal[tuple(kind)] if isinstance(kind, list) else TYPES[kind], info]
    value = inspect.Parameter.empty if is_required else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
