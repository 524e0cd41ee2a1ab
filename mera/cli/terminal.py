"""Help, completion and output without torch: groups of commands that are imported when they run, and the console."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import escape, glob
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mera._utils.errors import closest
from mera._utils.processes import is_main
from mera._utils.table import Table

NARROW = 100
"""Width of a terminal, in columns, below which help is plain text, since boxes would cut off option names."""
OPTIONS: dict[str, Any] = {
    "rich_markup_mode": "rich" if get_terminal_size().columns >= NARROW else None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""Settings of all typer applications."""

console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_main())
Json = Annotated[bool, typer.Option("--json", help="Print JSON, in place of text for people.")]


def show(*parts: Table | str) -> None:
    """Print texts and tables."""
    for part in parts:
        console.print(str(part))


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    show(json.dumps(plain(value)))


def plain(value: Any) -> Any:
    """Replace NaN and infinite numbers, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lazy_group(
    commands: Mapping[str, tuple[str, Callable[[], typer.Typer]]],
    of_path: Callable[..., None] | None = None,
    before: Callable[[str, Sequence[str]], None] | None = None,
) -> type[TyperGroup]:
    """Make a class of groups of commands, for `typer.Typer(cls=...)`.

    Args:
        commands: for the name of each command, its help text, and a function that makes its application.
        of_path: the command to run if the first argument is the path of a file or a folder, or a pretrained flow.
        before: called with the name of a command and its words before its application is made.
    """

    class LazyGroup(TyperGroup):
        """A group whose commands consist of a name and a help text until they run."""

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, (help_text, _) in commands.items():
                self.commands[name] = TyperCommand(name, help=help_text)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """Make and return the command that the first argument names."""
            name = args[0] if args else ""
            if name in commands:
                if before is not None:
                    before(name, args[1:])
                self.commands[name] = _make(name, commands[name][1]())
            elif name and of_path is not None and (Path(name).exists() or name in pretrained_names()):
                return name, _make(ctx.info_name, as_app(of_path)), args
            elif name and of_path is not None and not name.startswith("-"):
                expected = f"Expected a model ({', '.join(commands)}), or the path of a run or a file"
                raise typer.BadParameter(f"{expected}; got {name!r}{closest(name, commands)}")
            return super().resolve_command(ctx, args)

    return LazyGroup


def signature_options(declaration: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or a dataclass as keyword-only parameters for typer, without `**kwargs`."""
    parameters = inspect.signature(declaration, eval_str=True).parameters.values()
    named = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in named]


def with_options(run: Callable[..., None], *groups: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """Make a command that calls `run` by name with its own parameters, but for `**kwargs`, and those of the groups."""

    def command(**values: Any) -> None:
        run(**values)

    parameters = [parameter for group in (signature_options(run), *groups) for parameter in group]
    command.__doc__ = inspect.getdoc(run)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def as_app(run: Callable[..., None] | typer.Typer, name: str | None = None) -> typer.Typer:
    """The application of one command; an application is returned as it is."""
    if isinstance(run, typer.Typer):
        return run
    app = typer.Typer(**OPTIONS)
    app.command(name)(run)
    return app


def _make(name: str, app: typer.Typer) -> Any:
    """Convert an application into a click command of this name."""
    command: Any = get_command(app)
    command.name = name
    return command


def among(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Make a function for `typer.Option(autocompletion=...)` that completes one of several names."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def sources(incomplete: str) -> list[str]:
    """Folders, files and the flows of the package that begin with a text; a folder without a run ends in a slash."""
    paths = sorted(glob(f"{escape(incomplete)}*"))
    paths = [f"{p}/" if Path(p).is_dir() and not Path(p, "manifest.json").exists() else p for p in paths]
    return [*paths, *among(pretrained_names)(incomplete)]


def pretrained_names() -> list[str]:
    """The names of the trained flows of the package, from its files: `mera.models` would import torch."""
    folder = Path(__file__).parents[1] / "models" / "weights"
    return sorted(card.stem for card in folder.glob("*.json"))
