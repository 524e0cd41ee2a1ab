"""Options declared once, with type, help and check: `Annotated[int, Option("...", check)]`.

Calls, docstrings and the command line all read this declaration. Options that several functions share are declared in a
`TypedDict`, which a function takes as `**options: Unpack[...]` (PEP 692).
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from typing_extensions import Unpack

from mera._utils.checks import check_choice, check_count, check_flag, check_positive
from mera._utils.errors import InputError

T = TypeVar("T")
Check = Callable[[Any, str], Any]
"""Called with a value and the option's name; returns the value to use, or raises a `ValueError`."""

REQUIRED = inspect.Parameter.empty
"""Marks an option without a default."""
PER_STEP = "One value for all RG steps, or one for each, finest first."
WIDTH = 116
"""Columns of the "Args" sections that `documented` writes."""


@dataclass(frozen=True)
class Option:
    """The help text and the check of an option.

    Args:
        help: meaning of the option, as text that follows the option's name and a colon.
        check: called with a value and the option's name; returns the value to use, or raises a `ValueError`. None for
            no check. An option whose type allows None is not checked if its value is None.
        default: default of an option that functions share through a `TypedDict`.
    """

    help: str
    check: Check | None = None
    default: Any = REQUIRED

    def per_step(self) -> Option:
        """A variant of the option that takes one value for all RG steps of a flow, or one for each."""
        return replace(self, help=f"{self.help} {PER_STEP}", check=None)


def choice(choices: Iterable[str], what: str) -> Check:
    """A check that a value is one of the choices; messages call the value `what`, which begins with an article."""
    return lambda value, name: check_choice(value, choices, what)


def count(least: int = 1, what: str | None = None) -> Check:
    """A check that a value is an integer >= `least`; messages call it `what`, or by the option's name if None."""
    return lambda value, name: check_count(value, what or name, least)


def positive(what: str | None = None, or_zero: bool = False, most: float = math.inf) -> Check:
    """A check that a value is a positive number up to `most`, or also 0 if `or_zero`; for `what` see `count`."""
    return lambda value, name: check_positive(value, what or name, or_zero, most)


flag: Check = check_flag
"""A check that a value is True or False."""


def types_of(target: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters or a dataclass's fields, by name, without their `Option`."""
    return {name: _without_option(hint) for name, hint in _hints(target).items()}


def options_of(target: Callable[..., Any]) -> dict[str, Option]:
    """The options that the signature of a function or dataclass declares, by the name of the parameter.

    Parameters without an `Option` are left out.
    """
    hints = _hints(target)
    options = {name: _option_of(hints.get(name)) for name in signature_of(target).parameters}
    return {name: option for name, option in options.items() if option is not None}


def signature_of(target: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function or class, with the shared options listed in place of `**options: Unpack[...]`."""
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

    Changes the docstring of the function or dataclass in place, unless it has such a section, and returns the function
    or dataclass.
    """
    options = options_of(target)  # type: ignore[arg-type]
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


def with_options_checked(function: Callable[..., T], defaults: Mapping[str, Any] | None = None) -> Callable[..., T]:
    """Wrap a function so that each call first checks its options and fills in the defaults of shared options.

    Args:
        function: the function, in whose signature the options are declared.
        defaults: defaults that differ, for this function, from the declared defaults of shared options.
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
            if hasattr(value, "is_meta") and (value.is_meta or str(value.layout) != "torch.strided"):
                raise InputError(f"{name} as a plain value", "a sparse tensor, or one on the device meta")
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
    """Check the fields of a frozen dataclass, declared as options; replace each value by the result of its check.

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


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of parameters or fields, including shared options; empty if names cannot be resolved."""
    own = {name: hint for name, hint in _annotations(target).items() if get_origin(hint) is not Unpack}
    return _shared(target) | own


def _without_option(hint: Any) -> Any:
    """A type without the `Annotated` around it."""
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _shared(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the options that a function takes as `**options: Unpack[...]`."""
    declared = [get_args(hint)[0] for hint in _annotations(target).values() if get_origin(hint) is Unpack]
    return _type_hints(declared[0]) if declared else {}


def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of parameters or fields; empty if names cannot be resolved."""
    try:
        return _type_hints(_annotated(target))
    except (NameError, TypeError, AttributeError):  # names imported for type checkers alone, functools.partial, ...
        return {}


@cache
def _type_hints(owner: Any) -> dict[str, Any]:
    """`typing.get_type_hints` of a function, class or `TypedDict`; cached, because Python compiles each annotation."""
    return get_type_hints(owner, include_extras=True)


def _option_of(hint: Any) -> Option | None:
    """The `Option` in an annotation; None if there is none."""
    return next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Option)), None)


def _annotated(target: Callable[..., Any]) -> Any:
    """The object that holds the annotations: a function, a dataclass, or a class with a constructor of its own."""
    target = inspect.unwrap(target)
    if inspect.isclass(target) and not hasattr(target, "__dataclass_fields__"):
        return target.__init__
    return target
