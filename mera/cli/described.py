"""A description of all commands as data, from which help and completion are made without importing torch.

`commands.json` is the description; `python -m mera.cli.described` writes it again after an option has changed, and a
test compares both. Commands that run are made from the code itself.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.models import ArgumentInfo

from mera.cli.completion import COMPLETERS, among

FILE = Path(__file__).with_name("commands.json")
TYPES = {str(kind): kind for plain in (bool, int, float, str, Path) for kind in (plain, plain | None, list[plain])}  # type: ignore[valid-type]
"""The types of options, by their names."""
FIELDS = ("help", "metavar", "rich_help_panel", "show_default", "min", "max")
"""What help and completion show of an option, beside its names and its completion."""
COMPLETING = "_MERA_COMPLETE"
"""The variable of the environment by which a shell asks for completions."""


def is_enough() -> bool:
    """Whether a description serves this call: for help or completion, and no names from outside of the package."""
    asked = COMPLETING in os.environ or not {"-h", "--help"}.isdisjoint(sys.argv[1:])
    extended = any(argument.startswith("--import") for argument in sys.argv)
    return asked and not extended and not any(group.startswith("mera.") for group in entry_points().groups)


@cache
def description() -> dict[str, Any]:
    """The description of all commands of the package."""
    return json.loads(FILE.read_text())


def described(*path: str) -> typer.Typer:
    """Make a command that has the options and the help of the real one, and does nothing.

    Args:
        path: the names of the command and of its groups, such as "train", "rgflow".
    """
    from mera.cli.lazy import OPTIONS, lazy_group

    entry = description()["commands"][" ".join(path)]
    parameters = [_parameter(**description()["parameters"][index]) for index in entry["parameters"]]

    def command(**values: Any) -> None:
        pass

    command.__doc__ = entry["help"]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
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


def describe(commands: dict[str, tuple[str, Callable[[], typer.Typer]]]) -> dict[str, Any]:
    """Describe commands and all their members.

    Args:
        commands: for the name of each command, its help text and a function that makes its application.
    """
    parameters: list[dict[str, Any]] = []
    entries: dict[str, Any] = {}

    def index(parameter: dict[str, Any]) -> int:
        if parameter not in parameters:
            parameters.append(parameter)
        return parameters.index(parameter)

    def visit(path: tuple[str, ...], app: typer.Typer) -> None:
        command = app.registered_callback or app.registered_commands[0]
        text = command.help if isinstance(command.help, str) else inspect.getdoc(command.callback)
        members = getattr(app.info.cls, "members", None) if app.registered_callback else None
        shown = [index(parameter) for parameter in _parameters(command.callback)]
        names = None if members is None else {name: help_text for name, (help_text, _) in members.items()}
        entries[" ".join(path)] = {"help": text, "members": names, "parameters": shown}
        for name, (_, make) in (members or {}).items():
            visit((*path, name), make())

    for name, (_, make) in commands.items():
        visit((name,), make())
    return {"commands": entries, "parameters": parameters}


def _parameters(function: Any) -> Iterator[dict[str, Any]]:
    """Describe the parameters of the function of a command."""
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.annotation is typer.Context:
            continue
        kind, info = parameter.annotation.__origin__, parameter.annotation.__metadata__[0]
        is_required = parameter.default is inspect.Parameter.empty
        default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
        if isinstance(kind, type) and issubclass(kind, Enum):
            kind = [member.value for member in kind]
        described = {name: value for name in FIELDS if (value := getattr(info, name, None)) is not None}
        if info.autocompletion is not None:
            by_name = {function: name for name, function in COMPLETERS.items()}
            described["words"] = by_name.get(info.autocompletion) or info.autocompletion("")
        yield {
            "name": parameter.name,
            "kind": str(str | None) if info.parser is not None else kind if isinstance(kind, list) else str(kind),
            "default": None if is_required else str(default) if isinstance(default, Path) else default,
            "is_required": is_required,
            "is_argument": isinstance(info, ArgumentInfo),
            "names": [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)],
        } | described


def text_of(description: dict[str, Any]) -> str:
    """The text of the file."""
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from mera.cli.app import COMMANDS, real_application

    commands = {name: (text, partial(real_application, name)) for name, text in COMMANDS.items()}
    FILE.write_text(text_of(describe(commands)))
