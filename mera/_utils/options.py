"""Options declared once, with type, help and check: `Annotated[int, Option("...", check)]`.

They are fields of dataclasses, such as models and `Settings`, or parameters of functions, such as factories of
bijectors. Calls, docstrings and the command line all read this declaration.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from mera._utils.checks import check_choice, check_count, check_flag, check_positive

T = TypeVar("T")
Check = Callable[[Any, str], Any]
"""Called with a value and the option's name; returns the value to use, or raises a `ValueError`."""

PER_LEVEL = "One value for all levels, or one for each, finest first."
WIDTH = 116
"""Columns of the "Args" sections that `documented` writes."""


@dataclass(frozen=True)
class Option:
    """The help text and the check of an option."""

    help: str = field(repr=False)  # reference and signatures show types without it
    check: Check | None = field(default=None, repr=False)

    def per_level(self) -> Option:
        """A variant of the option that takes one value for all levels of a flow, or one for each."""
        return replace(self, help=f"{self.help} {PER_LEVEL}")


def choice(choices: Iterable[str], what: str) -> Check:
    """A check that a value is one of the choices; messages call the value `what`, which begins with an article."""
    return lambda value, name: check_choice(value, choices, what)


def count(least: int = 1) -> Check:
    """A check that a value is an integer >= `least`."""
    return lambda value, name: check_count(value, name, least)


def positive(what: str | None = None, or_zero: bool = False, most: float = math.inf) -> Check:
    """A check that a value is a positive number up to `most`, or also 0 if `or_zero`.

    Messages call it `what`, or by the option's name if None.
    """
    return lambda value, name: check_positive(value, what or name, or_zero, most)


flag: Check = check_flag
"""A check that a value is True or False."""


def types_of(target: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters or a dataclass's fields, by name, without their `Option`."""
    hints = _hints(target).items()
    return {name: get_args(hint)[0] if hasattr(hint, "__metadata__") else hint for name, hint in hints}


def options_of(target: Callable[..., Any]) -> dict[str, Option]:
    """The options that the signature of a function or dataclass declares, by the name of the parameter.

    Parameters without an `Option` are left out.
    """
    hints = _hints(target)
    metadata = {name: getattr(hints.get(name), "__metadata__", ()) for name in inspect.signature(target).parameters}
    return {name: item for name, items in metadata.items() for item in items if isinstance(item, Option)}


def documented(target: T) -> T:
    """Add an "Args" section with the help of all options to a docstring, before "Raises" or else at the end.

    Changes the docstring of the function or dataclass in place, unless it has such a section, and returns the function
    or dataclass.
    """
    options = options_of(target)  # type: ignore[arg-type]
    if options:
        _show_plain_types(target)
    doc = inspect.getdoc(target)
    if options and doc and "\nArgs:\n" not in doc:
        entries = [
            textwrap.fill(
                f"{name}: {option.help}", WIDTH, initial_indent="    ", subsequent_indent="        ",
                break_long_words=False, break_on_hyphens=False,
            )
            for name, option in options.items()
        ]  # fmt: skip
        section = "\n".join(["Args:", *entries])
        before, raises, after = doc.partition("\nRaises:\n")
        target.__doc__ = f"{before.rstrip()}\n\n{section}\n{raises}{after}"
    return target


def _show_plain_types(target: Any) -> None:
    """Let `help` show types without the help of the options in them."""
    types, signature = types_of(target), inspect.signature(target)
    parameters = [p.replace(annotation=types.get(name, p.annotation)) for name, p in signature.parameters.items()]
    target.__signature__ = signature.replace(parameters=parameters)
    if inspect.isclass(target) and is_dataclass(target):
        me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        made: Any = target.__init__
        made.__signature__ = signature.replace(parameters=[me, *parameters])


def check_options(target: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call of a function, each as its check returns it."""
    types, checked, parameters = types_of(target), dict(options), inspect.signature(target).parameters
    for name, option in options_of(target).items():
        may_be_none = type(None) in get_args(types[name]) or parameters[name].default is None
        if option.check is not None and name in checked and not (checked[name] is None and may_be_none):
            checked[name] = option.check(checked[name], name)
    return checked


def check_fields(instance: Any) -> None:
    """Check the fields of a frozen dataclass, declared as options; replace each value by the result of its check."""
    for name, value in check_options(type(instance), vars(instance)).items():
        object.__setattr__(instance, name, value)


@cache
def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of parameters or fields; empty if names cannot be resolved."""
    target = inspect.unwrap(target)
    owner: Any = target if not inspect.isclass(target) or is_dataclass(target) else target.__init__
    try:
        return get_type_hints(owner, include_extras=True)
    except (NameError, TypeError, AttributeError):  # names imported for type checkers alone, functools.partial, ...
        return {}
