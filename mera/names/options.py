"""Options that are declared once, with type, help and check: `Annotated[int, Option("...", check)]`.

The check of a call, the docstring and the command line all read this declaration. Options that several functions share
stand in a `TypedDict`, from which a function takes them as `**options: Unpack[...]` (PEP 692).
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from typing_extensions import Unpack

from mera._utils.checks import check_choice, check_count, check_flag, check_positive

T = TypeVar("T")
Check = Callable[[Any, str], Any]
"""From the value of an option and the option's name to the value to use; raises a `ValueError` for a wrong value."""

REQUIRED = inspect.Parameter.empty
"""The default of an option that has none."""
PER_STEP = "One value for all RG steps, or one for each, finest first."
WIDTH = 116
"""Columns of the "Args" sections that `documented` writes."""


@dataclass(frozen=True)
class Option:
    """The help text and the check of an option.

    Args:
        help: what the option means, in words that follow the option's name and a colon.
        check: a function that is called with a value and the option's name, and returns the value to use or raises a
            `ValueError`; None for no check. A value of None is not checked.
        default: the value that a function gets if it shares the option and a caller leaves it out.
    """

    help: str
    check: Check | None = None
    default: Any = REQUIRED

    def per_step(self, default: Any = REQUIRED) -> Option:
        """The same option with one value for all RG steps of a flow, or one for each.

        Args:
            default: the default of the option; that of this option if it is left out.
        """
        text = f"{self.help} {PER_STEP}"
        return replace(self, help=text, check=None, default=self.default if default is REQUIRED else default)


def choice(choices: Iterable[str], what: str) -> Check:
    """A check that a value is one of some words.

    Args:
        choices: the words.
        what: what messages call the value, with an article.
    """
    return lambda value, name: check_choice(value, choices, what)


def count(least: int = 1, what: str | None = None) -> Check:
    """A check that a value is an integer.

    Args:
        least: the smallest integer that is accepted.
        what: what messages call the value; the option's name if None.
    """
    return lambda value, name: check_count(value, what or name, least)


def positive(what: str | None = None, or_zero: bool = False) -> Check:
    """A check that a value is a positive number.

    Args:
        what: what messages call the value; the option's name if None.
        or_zero: whether 0 is accepted too.
    """
    return lambda value, name: check_positive(value, what or name, or_zero)


flag: Check = check_flag
"""A check that a value is True or False."""


def types_of(target: Callable[..., Any]) -> dict[str, Any]:
    """The types of parameters, by name, without their `Option`.

    Args:
        target: a function or a dataclass.
    """
    return _hints(target)


def options_of(target: Callable[..., Any]) -> dict[str, Option]:
    """The options that are declared in a signature, by the name of the parameter.

    Args:
        target: a function or a dataclass; parameters without an `Option` are left out.
    """
    hints = _hints(target, include_extras=True)
    options = {name: _option_of(hints.get(name)) for name in signature_of(target).parameters}
    return {name: option for name, option in options.items() if option is not None}


def signature_of(target: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, with the options that it shares in place of `**options: Unpack[...]`.

    Args:
        target: a function, a class, or a function that `with_options_checked` returned.
    """
    signature = inspect.signature(target)
    shared = _shared(target)
    parameters = [p for p in signature.parameters.values() if not (shared and p.kind is p.VAR_KEYWORD)]
    names = {parameter.name for parameter in parameters}
    for name, hint in shared.items():
        option = _option_of(hint)
        if name not in names:
            default = REQUIRED if option is None else option.default
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
    return signature.replace(parameters=parameters)


def documented(target: T) -> T:
    """Add an "Args" section with the help of all options to a docstring, before "Raises" or else at the end.

    Args:
        target: a function or a dataclass, whose docstring is changed.

    Returns:
        The same function or dataclass.
    """
    options = options_of(target)  # type: ignore[arg-type]
    doc = inspect.getdoc(target)
    if options and doc:
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


def with_options_checked(function: Callable[..., T], defaults: Mapping[str, Any] | None = None) -> Callable[..., T]:
    """Wrap a function so that each call checks the options first, and fills in the options that the function shares.

    Args:
        function: the function, in whose signature the options are declared.
        defaults: the function's own defaults of options that it shares.
    """
    checks, signature = _checks(function), signature_of(function)
    if inspect.isclass(function) or not (checks or _shared(function)):
        return function  # a class checks its arguments itself
    own = defaults or {}
    parameters = [p.replace(default=own.get(p.name, p.default)) for p in signature.parameters.values()]
    signature = signature.replace(parameters=parameters)

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> T:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in checks:
                bound.arguments[name] = checks[name](value, name)
        bound.apply_defaults()
        return function(*bound.args, **bound.kwargs)

    types = types_of(function)  # `help` then shows types instead of their declarations
    parameters = [p.replace(annotation=types.get(p.name, p.annotation)) for p in signature.parameters.values()]
    checked.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=types.get("return", signature.return_annotation)
    )
    return checked


def check_fields(instance: Any) -> None:
    """Check the fields of a frozen dataclass, and replace each value by the one that its check returns.

    Args:
        instance: an instance of a dataclass whose fields are declared as options.

    Raises:
        ValueError: if a check refuses a value.
    """
    for name, check in _checks(type(instance)).items():
        object.__setattr__(instance, name, check(getattr(instance, name), name))


def _checks(target: Callable[..., Any]) -> dict[str, Check]:
    """The check of each option that has one, by name; an option whose type allows None may be None."""
    types = types_of(target)
    return {
        name: _unless_none(option.check) if type(None) in get_args(types[name]) else option.check
        for name, option in options_of(target).items()
        if option.check is not None
    }


def _unless_none(check: Check) -> Check:
    """The check for an option that may be None."""
    return lambda value, name: None if value is None else check(value, name)


def _hints(target: Callable[..., Any], include_extras: bool = False) -> dict[str, Any]:
    """The annotations of parameters or fields, shared options among them; none where names cannot be resolved."""
    try:
        own = get_type_hints(_annotated(target), include_extras=True)
        for hint in list(own.values()):
            if get_origin(hint) is Unpack:
                own = get_type_hints(get_args(hint)[0], include_extras=True) | own
        return own if include_extras else {name: _without_option(hint) for name, hint in own.items()}
    except (NameError, TypeError, AttributeError):  # names imported for type checkers alone, functools.partial, ...
        return {}


def _without_option(hint: Any) -> Any:
    """A type without the `Annotated` around it."""
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _shared(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the options that a function takes as `**options: Unpack[...]`."""
    try:
        hints = get_type_hints(_annotated(target), include_extras=True).values()
    except (NameError, TypeError, AttributeError):
        return {}
    declared = [get_args(hint)[0] for hint in hints if get_origin(hint) is Unpack]
    return get_type_hints(declared[0], include_extras=True) if declared else {}


def _option_of(hint: Any) -> Option | None:
    """The `Option` in an annotation; None if there is none."""
    return next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Option)), None)


def _annotated(target: Callable[..., Any]) -> Any:
    """The object that holds the annotations: a function, a dataclass, or a class with a constructor of its own."""
    target = inspect.unwrap(target)
    if inspect.isclass(target) and not hasattr(target, "__dataclass_fields__"):
        return target.__init__
    return target
