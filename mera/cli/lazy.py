"""Groups of commands that are made when they run, so that help and completion do not wait for torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mera._utils.errors import closest
from mera.weights import pretrained

NARROW = 80
"""The columns of a terminal below which help is plain text, since boxes would cut off the names of options."""
OPTIONS: dict[str, Any] = {
    "rich_markup_mode": "rich" if get_terminal_size().columns >= NARROW else None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""What all applications have in common."""


def lazy_group(
    commands: Mapping[str, tuple[str, Callable[[], typer.Typer]]], of_path: Callable[..., None] | None = None
) -> type[TyperGroup]:
    """A class of groups of commands, for `typer.Typer(cls=...)`.

    Args:
        commands: by the name of each command, a sentence that says what it does, and a function that makes it.
        of_path: the command to run if the first argument is no name of a command, but the path of a file or a folder.
    """

    class LazyGroup(TyperGroup):
        """A group whose commands have a name and a sentence of help until one of them runs."""

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, (help_text, _) in commands.items():
                self.commands[name] = TyperCommand(name, help=help_text)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """Make the command that the first argument names, and find it."""
            name = args[0] if args else ""
            if name in commands:
                self.commands[name] = _make(name, commands[name][1]())
            elif name and of_path is not None and (Path(name).exists() or name in pretrained()):
                app = typer.Typer(**OPTIONS)
                app.command(help=of_path.__doc__)(of_path)
                return name, _make(ctx.info_name, app), args
            elif name and of_path is not None and not name.startswith("-"):
                expected = f"Expected a model ({', '.join(commands)}), or the path of a run or a file"
                raise typer.BadParameter(f"{expected}; got {name!r}{closest(name, commands)}")
            return super().resolve_command(ctx, args)

    return LazyGroup


def refuse_before_command(context: typer.Context) -> None:
    """Refuse options of a group that stand before the name of a command, which would not get them.

    Args:
        context: the context of the group.

    Raises:
        BadParameter: if there are such options.
    """
    passed = [
        parameter.opts[0]
        for parameter in context.command.params
        if (name := parameter.name) and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if context.invoked_subcommand is not None and passed:
        raise typer.BadParameter(
            f"Expected options behind {context.invoked_subcommand}; got {', '.join(passed)} before it"
        )


def _make(name: str, app: typer.Typer) -> Any:
    """The command of an application, under a name."""
    command: Any = get_command(app)
    command.name = name
    return command
