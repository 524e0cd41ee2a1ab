"""Checks of arguments at the door of public functions, by their annotations."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Real
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])
WORDS: dict[Any, str] = {
    int: "an integer", float: "a number", bool: "True or False", str: "text", Tensor: "a dense tensor of real numbers",
    np.ndarray: "an array", type(None): "None", Sequence: "a sequence", list: "a list", tuple: "a tuple",
    Mapping: "a mapping", dict: "a dict", Iterable: "an iterable", Callable: "a function",
}  # fmt: skip
"""Types in words, for messages."""


def checked(*names: Any) -> Any:
    """Check arguments of each call by the annotations of the parameters; a decorator of public functions.

    An argument of another type raises an `InputError` with the name of the parameter. A tensor must be dense, real and
    not on the device "meta"; a number must not be NaN. A parameter whose annotation is `Any`, or cannot be resolved at
    run time, is not checked.

    Args:
        names: the function; or the names of the parameters to check, where the function itself says more about others,
            as in `@checked("plan")`.
    """
    if len(names) == 1 and callable(names[0]):
        return _with_door(names[0], ())
    return lambda function: _with_door(function, names)


def _with_door(function: F, names: tuple[str, ...]) -> F:
    """The function, with a check of the named arguments before each call; of all arguments if there are no names."""
    signature = inspect.signature(function)

    @wraps(function)
    def door(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # torch cannot trace the checks
            return function(*args, **kwargs)
        hints = _hints(function)
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # raises Python's own error
        for name, value in arguments.items():
            if name in hints and (not names or name in names) and not _fits(value, hints[name]):
                raise InputError(f"{name} as {_in_words(hints[name])}", _got(value))
        return function(*args, **kwargs)

    return door  # type: ignore[return-value]


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters that can be checked, each resolved by itself."""
    home = inspect.unwrap(function)
    hints = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint: Any = parameter.annotation
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or hint is parameter.empty:
            continue
        if isinstance(hint, str):
            try:
                hint = eval(hint, dict(vars(inspect.getmodule(home))))
            except (NameError, TypeError, AttributeError):  # a name that only type checkers import
                continue
        if hint is not Any:
            hints[name] = hint
    return hints


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _fits(value, get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is not None:
        return _fits_generic(value, origin, get_args(hint))
    if hint is None or hint is type(None):
        return value is None
    if hint is Any or isinstance(hint, (TypeVar, str)) or not isinstance(hint, type):
        return True
    if hint is int:
        return is_integer(value) and abs(value) < 2**63
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool) and value == value
    if hint is Tensor:
        return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_complex())
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol that cannot be checked
        return True


def _fits_generic(value: Any, origin: Any, parts: tuple[Any, ...]) -> bool:
    """Whether a value is of an annotated type with parameters, such as Sequence[int]."""
    if origin is Callable or (isinstance(origin, type) and issubclass(origin, Callable)):  # type: ignore[arg-type]
        return callable(value)
    if not isinstance(origin, type):
        return True
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if issubclass(origin, tuple) and len(parts) == 2 and parts[1] is Ellipsis:
        return isinstance(value, (tuple, list)) and all(_fits(item, parts[0]) for item in value)
    if issubclass(origin, tuple):
        return isinstance(value, (tuple, list)) and len(value) == len(parts)
    if origin in (Sequence, list):
        if isinstance(value, (Tensor, np.ndarray)):
            return (
                parts[0] is float
                and value.ndim == 1
                and value.dtype != object
                and _fits(torch.as_tensor(value), Tensor)
            )
        is_sequence = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        return is_sequence and all(_fits(item, parts[0]) for item in value)
    if origin is Iterable:
        if isinstance(value, (str, bytes, Tensor, np.ndarray)) or not isinstance(value, Iterable):
            return False
        return not isinstance(value, Sequence) or all(_fits(item, parts[0]) for item in value)
    return isinstance(value, origin)


def _in_words(hint: Any) -> str:
    """An annotated type in words."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _in_words(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_in_words(part) for part in get_args(hint)))
    parts = [_in_words(part).partition(" ")[2] + "s" for part in get_args(hint)[:1] if part in (int, float)]
    name = getattr(hint, "__name__", str(hint))
    word = WORDS.get(origin or hint, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")
    return f"{word} of {parts[0]}" if parts else word


def _got(value: Any) -> str:
    """The type of a value, and a short text of plain values."""
    if isinstance(value, Tensor):
        kind = (
            "meta" if value.is_meta else "complex" if value.is_complex() else str(value.layout).removeprefix("torch.")
        )
        return f"a {kind} tensor of shape {tuple(value.shape)}"
    is_plain = value is None or isinstance(value, (bool, int, float, str, list, tuple))
    return repr(value)[:80] if is_plain else type(value).__name__
