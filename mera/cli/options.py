"""Command-line options that several commands share, or that a function or a dataclass declares; parsers of values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from mera._utils.flow_options import BijectorLike, Edges, Hidden, PriorLike
from mera._utils.options import options_of, types_of
from mera._utils.registry import parse_assignments, parse_value
from mera.train.settings import Options


def shown(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of values whose `ValueError` is shown as it is."""

    def parser(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parser


def widths(text: str) -> tuple[Any, ...]:
    """Parse widths of hidden layers separated by commas, with semicolons between levels.

    >>> widths("64,64"), widths("64,64;32")
    ((64, 64), ((64, 64), (32,)))
    """
    rows = [parse_value(f"{row},") for row in text.split(";")]
    return rows[0] if len(rows) == 1 else tuple(rows)


value = shown(parse_value)
assignments = shown(parse_assignments)
PARSERS: dict[Any, tuple[Callable[[str], Any], str | None]] = {
    Options: (assignments, "NAME=VALUE ..."),
    Edges: (value, "INT[,INT...]"),
    Hidden: (shown(widths), "INT[,INT...][;...]"),
    PriorLike: (str, "NAME[(NAME=VALUE, ...)]"),
    BijectorLike: (str, "NAME[(NAME=VALUE, ...)]"),
}
"""The parser of a value, and the form of the value in help texts, by the type of the option."""
Root = Annotated[Path | None, typer.Option(help="Folder of the run's data, if it was moved.", metavar="DIR")]
DataRoot = Annotated[
    Path | None, typer.Option(help='Folder of the data sets; "data" if left out.', rich_help_panel="Data")
]
Download = Annotated[bool, typer.Option("--download", help="Download missing files.", rich_help_panel="Data")]
DataOptions = Annotated[
    Any,
    typer.Option(parser=assignments, metavar="NAME=VALUE ...", help="Options of the data set.", rich_help_panel="Data"),
]
Lattice = Annotated[
    Any, typer.Option("--L", parser=value, metavar="INT[,INT...]", help="Edge of another lattice, or all its edges.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of everything that is random.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]
Class = Annotated[str | None, typer.Option("--class", metavar="NAME|K", help="Class, for a conditional flow.")]
USUAL = ("data", "action", "out", "L", "minutes", "steps", "batch_size", "lr", "seed", "device")
"""The options that people use most, in the order of help texts, which show them first and outside of panels."""


def options_for(target: Callable[..., Any], panel: str | None = None) -> list[inspect.Parameter]:
    """Make a command-line option for each parameter of a function or a dataclass, with help text, for typer.

    The value of an option that is left out is None, which stands for the default of the function.
    """
    declared, types = options_of(target), types_of(target)
    options = []
    for parameter in inspect.signature(target).parameters.values():
        name = parameter.name
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        flag = "--" + name.replace("_", "-")
        help_text = declared[name].help if name in declared else ""
        if parameter.default is not None:
            help_text += f" Default: {parameter.default}."
        kind, parser, metavar = _kind(types.get(name))
        option = typer.Option(
            *((f"{flag}/--no-{flag[2:]}",) if kind is bool else (flag,)),
            help=escape(help_text[:1].upper() + help_text[1:]),
            show_default=False,
            parser=parser,
            metavar=metavar,
            rich_help_panel=None if name in USUAL else panel,
        )
        annotation: Any = Annotated[kind | None, option]
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return options


def _kind(hint: Any) -> tuple[Any, Callable[[str], Any] | None, str | None]:
    """The type of an option for typer, and a parser and a form of the value, None where typer provides them."""
    for alias, (parser, metavar) in PARSERS.items():
        if hint in (alias, alias | None):
            return str, parser, metavar
    plain = next((kind for kind in (bool, int, float, str) if hint in (kind, kind | None)), None)
    return (str, value, "VALUE") if plain is None else (plain, None, None)
