"""Command-line options, made from the options that a function or a dataclass declares, and parsers of their values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Annotated, Any

import typer
from rich.markup import escape

from mera._utils.calls import parse_assignments
from mera._utils.flow_options import BijectorLike, Edges, Hidden, PriorLike
from mera._utils.options import options_of, types_of
from mera.train.settings import Options


def integers(text: str) -> int | tuple[int, ...]:
    """Parse one integer, or several separated by commas.

    >>> integers("4"), integers("8,6,4,2")
    (4, (8, 6, 4, 2))
    """
    return _one_or_all(text, int, "integers such as 4 or 8,6,4,2")


def numbers(text: str) -> float | tuple[float, ...]:
    """Parse one number, or several separated by commas."""
    return _one_or_all(text, float, "numbers such as 0.6 or 0.2,0.6,0.6,0.6")


def widths(text: str) -> tuple[Any, ...]:
    """Parse widths of hidden layers separated by commas, with semicolons between RG steps.

    >>> widths("64,64"), widths("64,64;32")
    ((64, 64), ((64, 64), (32,)))
    """
    rows = [_one_or_all(row + ",", int, "widths such as 64,64 or 64,64;32") for row in text.split(";")]
    return rows[0] if len(rows) == 1 else tuple(rows)


def assignments(text: str) -> dict[str, Any]:
    """Parse NAME=VALUE ..., where a value that is not JSON is text."""
    try:
        return parse_assignments(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _one_or_all(text: str, kind: Callable[[str], Any], expected: str) -> Any:
    """Parse one value, or a tuple of values separated by commas; `expected` describes the values in error messages."""
    try:
        values = tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = ()
    if not values:
        raise typer.BadParameter(f"Expected {expected}; got {text!r}")
    return values if "," in text else values[0]


def json_or_text(text: str) -> Any:
    """Parse a value as JSON; text that is not JSON is returned unchanged.

    >>> json_or_text("[1, 2]"), json_or_text("fast")
    ([1, 2], 'fast')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


VALUES: dict[Any, tuple[Callable[[str], Any], str | None]] = {
    Options: (assignments, "NAME=VALUE ..."),
    Edges: (integers, "INT[,INT...]"),
    Hidden: (widths, "INT[,INT...][;...]"),
    PriorLike: (str, "NAME[(NAME=VALUE, ...)]"),
    BijectorLike: (str, "NAME[(NAME=VALUE, ...)]"),
}
"""The parser of a value, and the form of the value in help texts, by the type of the option."""


def options_for(
    target: Callable[..., Any], panel: str | None = None, defaults: Mapping[str, Any] | None = None
) -> list[inspect.Parameter]:
    """Make a command-line option for each parameter of a function or a dataclass, with help text, for typer.

    The value of an option that is left out is None, which stands for the default of the function.

    Args:
        target: the function or the dataclass.
        panel: the title above the options in help texts.
        defaults: defaults that the command passes instead of those of the function, for the help texts.
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
            help=escape(help_text[:1].upper() + help_text[1:]),
            show_default=False,
            parser=parser,
            metavar=metavar,
            rich_help_panel=panel,
        )
        annotation: Any = Annotated[kind | None, option]
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return options


def signature_options(declaration: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or a dataclass as keyword-only parameters for typer, without `**kwargs`.

    Args:
        declaration: a callable whose parameters are annotated with `typer.Option` or `typer.Argument`.
    """
    parameters = inspect.signature(declaration, eval_str=True).parameters.values()
    named = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in named]


USUAL = ("data", "action", "out", "L", "minutes", "steps", "batch_size", "lr", "seed", "device")
"""The options that people use most."""


def usual_first(options: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """Move the options that people use most to the front, and into the first panel of help texts."""
    by_name = {option.name: option for option in options}
    first = [_without_panel(by_name[name]) for name in USUAL if name in by_name]
    return [*first, *(option for option in options if option.name not in USUAL)]


def _without_panel(option: inspect.Parameter) -> inspect.Parameter:
    """A copy of an option that stands in the first panel of help texts."""
    shown = copy(option.annotation.__metadata__[0])
    shown.rich_help_panel = None
    return option.replace(annotation=Annotated[option.annotation.__origin__, shown])


def _kind(hint: Any) -> tuple[Any, Callable[[str], Any] | None, str | None]:
    """The type of an option for typer, and a parser and a form of the value, None where typer provides them."""
    for alias, (parser, metavar) in VALUES.items():
        if hint in (alias, alias | None):
            return str, parser, metavar
    plain = next((kind for kind in (bool, int, float, str) if hint in (kind, kind | None)), None)
    return (str, json_or_text, "VALUE") if plain is None else (plain, None, None)
