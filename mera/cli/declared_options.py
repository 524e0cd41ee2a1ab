"""Command-line options, made from the options that a function or a dataclass declares, and parsers of their values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from mera.names.calls import parse_assignments
from mera.names.flow_options import BijectorLike, Edges, Hidden, PriorLike
from mera.names.options import options_of, types_of
from mera.train.settings import Options


def integers(text: str) -> int | tuple[int, ...]:
    """Parse one integer, or several separated by commas.

    Args:
        text: the text on the command line.

    >>> integers("4"), integers("8,6,4,2")
    (4, (8, 6, 4, 2))
    """
    return _one_or_all(text, int, "integers such as 4 or 8,6,4,2")


def numbers(text: str) -> float | tuple[float, ...]:
    """Parse one number, or several separated by commas.

    Args:
        text: the text on the command line.
    """
    return _one_or_all(text, float, "numbers such as 0.6 or 0.2,0.6,0.6,0.6")


def widths(text: str) -> tuple[Any, ...]:
    """Parse widths separated by commas, with semicolons between the widths of RG steps.

    Args:
        text: the text on the command line.

    >>> widths("64,64"), widths("64,64;32")
    ((64, 64), ((64, 64), (32,)))
    """
    rows = [_one_or_all(row + ",", int, "widths such as 64,64 or 64,64;32") for row in text.split(";")]
    return rows[0] if len(rows) == 1 else tuple(rows)


def word_or_integer(text: str) -> str | int:
    """Parse an integer; any other text is returned as it is.

    Args:
        text: the text on the command line.
    """
    return int(text) if text.lstrip("-").isdigit() else text


def assignments(text: str) -> dict[str, Any]:
    """Parse names and values, NAME=VALUE ..., where a value is JSON or else text.

    Args:
        text: the text on the command line.
    """
    try:
        return parse_assignments(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _one_or_all(text: str, kind: Callable[[str], Any], what: str) -> Any:
    """Parse one value, or a tuple of values separated by commas; `what` is what messages call them."""
    try:
        values = tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"Expected {what}; got {text!r}") from None
    if not values:
        raise typer.BadParameter(f"Expected {what}; got {text!r}")
    return values if "," in text else values[0]


def json_or_text(text: str) -> Any:
    """Parse a value as JSON if it is JSON; else it is text.

    Args:
        text: the text on the command line.

    >>> json_or_text("[1, 2]"), json_or_text("fast")
    ([1, 2], 'fast')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


PARSERS: dict[Any, Callable[[str], Any]] = {
    Options: assignments,
    Edges: integers,
    Hidden: widths,
    str | int: word_or_integer,
    PriorLike: str,
    BijectorLike: str,
}
"""By the type of an option, the function that parses its value."""


METAVARS: dict[Any, str] = {
    Options: "NAME=VALUE ...",
    Edges: "INT[,INT...]",
    Hidden: "INT[,INT...][;...]",
    PriorLike: "NAME[(NAME=VALUE ...)]",
    BijectorLike: "NAME[(NAME=VALUE ...)]",
}
"""By the type of an option, the form of a value, which help texts show."""


def options_for(
    target: Callable[..., Any], panel: str | None = None, defaults: Mapping[str, Any] | None = None
) -> list[inspect.Parameter]:
    """Command-line options for the declared options of a function or a dataclass, with their help.

    Any option may be left out; its value is then None, which stands for the default of the function.

    Args:
        target: the function or dataclass, each of whose parameters becomes an option.
        panel: the title above the options in help texts.
        defaults: other defaults, which the command passes to the function, for the help texts.

    Returns:
        Parameters of a command, which typer reads as options.
    """
    declared, types = options_of(target), types_of(target)
    options = []
    for parameter in inspect.signature(target).parameters.values():
        name = parameter.name
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        flag = "--" + name.replace("_", "-")
        help_text = declared[name].help if name in declared else ""
        default = (defaults or {}).get(name, parameter.default)
        if default is not None:
            help_text += f" Default: {default}."
        kind, parser, metavar = _kind(types.get(name))
        option = typer.Option(
            *((f"{flag}/--no-{flag[2:]}",) if kind is bool else (flag,)),
            help=escape(_capitalized(help_text)),
            show_default=False,
            parser=parser,
            metavar=metavar,
            rich_help_panel=panel,
        )
        annotation: Any = Annotated[kind | None, option]
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return options


def signature_options(declaration: Callable[..., Any]) -> list[inspect.Parameter]:
    """Command-line options for the parameters of a function that typer could read, without a parameter `**others`.

    Args:
        declaration: a function or a dataclass, whose parameters are annotated with `typer.Option` or `typer.Argument`.

    Returns:
        Parameters of a command, which typer reads as options.
    """
    parameters = inspect.signature(declaration, eval_str=True).parameters.values()
    named = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in named]


def with_options(run: Callable[..., None], *groups: list[inspect.Parameter]) -> Callable[..., None]:
    """Make a command that typer can read, with a signature of its own.

    Args:
        run: the function that the command calls with the values of all options by name.
        groups: the parameters of the command, in order.
    """

    def command(**values: Any) -> None:
        run(**values)

    parameters = [parameter for group in groups for parameter in group]
    command.__doc__ = inspect.getdoc(run)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _kind(hint: Any) -> tuple[Any, Callable[[str], Any] | None, str | None]:
    """The type of an option's value for typer, the parser of the value, and its form; None where typer knows them."""
    for alias, parser in PARSERS.items():
        if hint in (alias, alias | None):
            return str, parser, METAVARS.get(alias)
    plain = next((kind for kind in (bool, int, float, str) if hint in (kind, kind | None)), None)
    return (str, json_or_text, "VALUE") if plain is None else (plain, None, None)


def _capitalized(text: str) -> str:
    """A help text that starts with a capital letter."""
    return text[:1].upper() + text[1:]
