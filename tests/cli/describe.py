"""The description of all commands: `python -m tests.cli.describe` writes `commands.json` after an option has changed.

A test compares the file with the commands as they are.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from typer.models import ArgumentInfo
from typer.testing import CliRunner

from mera.cli.app import COMMANDS, real_application
from mera.cli.completion import COMPLETERS
from mera.cli.described import FILE, TYPES, described

FIELDS = ("help", "metavar", "rich_help_panel", "show_default", "min", "max")
"""What help and completion show of an option, beside its names and its completion."""


def describe(commands: Mapping[str, tuple[str, Callable[[], typer.Typer]]]) -> dict[str, Any]:
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
    names = {kind: name for name, kind in TYPES.items()}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.annotation is typer.Context:
            continue
        kind, info = parameter.annotation.__origin__, parameter.annotation.__metadata__[0]
        is_required = parameter.default is inspect.Parameter.empty
        default = parameter.default
        if get_origin(kind) is Literal:
            kind = list(get_args(kind))
        described = {name: value for name in FIELDS if (value := getattr(info, name, None)) is not None}
        if info.autocompletion is not None:
            by_name = {function: name for name, function in COMPLETERS.items()}
            described["words"] = by_name.get(info.autocompletion) or info.autocompletion("")
        yield {
            "name": parameter.name,
            "kind": "str | None" if info.parser is not None else kind if isinstance(kind, list) else names[kind],
            "default": None if is_required else str(default) if isinstance(default, Path) else default,
            "is_required": is_required,
            "is_argument": isinstance(info, ArgumentInfo),
            "names": [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)],
        } | described


def text() -> str:
    """The text of the file."""
    commands = {name: (help_text, partial(real_application, name)) for name, help_text in COMMANDS.items()}
    return json.dumps(describe(commands), indent=1, ensure_ascii=False) + "\n"


def help_of(app: typer.Typer, arguments: list[str]) -> str:
    """The help text of a command."""
    return CliRunner().invoke(app, [*arguments, "--help"], prog_name="mera").output


if __name__ == "__main__":
    if paths := sys.argv[1:]:  # for the test: what the file should hold, and help texts from the file and from the code
        found: dict[str, Any] = {"description": text()}
        for path in paths:
            name, *rest = path.split()
            found[path] = [help_of(app, rest) for app in (described(name), real_application(name))]
        print(json.dumps(found))
    else:
        FILE.write_text(text(), encoding="utf-8")
