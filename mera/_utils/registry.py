"""Registries of functions that users call by name, and the one form of a name with options: "spline(bins=5)".

The form is the same in Python, in TOML and on the command line.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from mera._utils.checks import as_plain, check_choice, is_list
from mera._utils.errors import IMPORT_FIRST, InputError, closest

EMPTY = inspect.Parameter.empty
NAMELESS = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z_]\w*\s*=)")
"""The separator of two assignments NAME=VALUE."""
WORDS = {"true": True, "false": False, "null": None, "inf": float("inf"), "-inf": float("-inf")}

F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[F]):
    """Functions that users register, and call, by name.

    Args:
        what: the word for a registered function in messages, with an article, such as "a model".
        prepare: called with each function that is registered; returns the function to use.
        given: the number of first parameters that are not options, such as the shape of an event.
    """

    def __init__(self, what: str, prepare: Callable[[F], F] = lambda function: function, given: int = 0) -> None:
        self.what, self._prepare, self._given = what, prepare, given
        self._functions: dict[str, F] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """A decorator that registers a function under a name.

        Registering the same function again, by module and qualified name, replaces it, so that notebook cells can be
        run again.
        """
        if not isinstance(name, str) or not name:
            raise InputError(f"a name of {self.what} as text", repr(name))

        def decorate(function: F) -> F:
            if name in self._functions and _origin(self._functions[name]) != _origin(function):
                raise InputError(f"a name of {self.what} that is not taken", repr(name))
            self._functions[name] = self._prepare(function)
            return self._functions[name]

        return decorate

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._functions)

    def get(self, name: str) -> F:
        """The function that is registered under a name."""
        names = self.names()
        if not isinstance(name, str) or name not in names:
            raise InputError(f"{self.what} among {names}", f"{name!r}{closest(name, names) or IMPORT_FIRST}")
        return self._functions[name]

    def parse(self, text: str | Mapping[str, Any], example: str) -> tuple[str, dict[str, Any]]:
        """The name and the options in a text, "spline(bins=5)", or in a table, {"name": "spline", "bins": 5}."""
        if isinstance(text, Mapping):
            options: dict[str, Any] = {key: value for key, value in text.items() if key != "name"}
            name = text.get("name")
        elif isinstance(text, str):
            name, values, options = parse_call(text, example)
            if values:
                raise InputError(f"options by name, as in {example}", repr(text))
        else:
            raise InputError(f"{self.what} as text, such as {example}", repr(text))
        self.get(name)  # type: ignore[arg-type]
        return name, options  # type: ignore[return-value]

    def make(self, text: str | Mapping[str, Any]) -> Any:
        """Call the function of a name with options; see `parse`."""
        name, options = self.parse(text, f"{self.names()[0]}(option=1)")
        self.check_options(name, options)
        return self.get(name)(**options)

    def defaults(self, name: str) -> dict[str, Any]:
        """The defaults of a registered function's options, by the name of the option; required options are left out."""
        return {p.name: p.default for p in self._parameters(name) if p.default is not EMPTY}

    def check_options(self, name: str, options: Iterable[str]) -> None:
        """Check names of options against the signature of a registered function."""
        parameters = self._parameters(name)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            choices = [p.name for p in parameters if p.name != "context_shape"]
            for option in options:
                check_choice(option, choices, f"an option of {name!r}")
        for parameter in parameters:
            if parameter.kind not in NAMELESS and parameter.default is EMPTY and parameter.name not in options:
                raise InputError(f"the option {parameter.name!r} of {name!r}", "none")

    def takes(self, name: str, option: str) -> bool:
        """Return whether a registered function has an option."""
        return any(p.name == option or p.kind is inspect.Parameter.VAR_KEYWORD for p in self._parameters(name))

    def _parameters(self, name: str) -> list[inspect.Parameter]:
        return list(inspect.signature(self.get(name)).parameters.values())[self._given :]


def _origin(function: Callable[..., Any]) -> Any:
    """Module and qualified name of a function: equal for the functions that a notebook cell defines when it runs again.

    A partial has the origin of its function. Other callables have no name of their own, so their origin is the callable
    itself.
    """
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__qualname__", "<lambda>")
    return function if "<lambda>" in name else (function.__module__, name)


def plain(value: Any) -> Any:
    """Convert the value of an option to Python's own numbers and to tuples, which can be compared and written to files.

    Sequences, mappings, arrays and tensors are converted recursively; any other object is returned as it is.

    >>> plain({"mask": np.array([[True, False]]), "bins": np.int64(5), "name": "spline"})
    {'mask': ((True, False),), 'bins': 5, 'name': 'spline'}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if is_list(value):
        return tuple(plain(item) for item in value)
    return plain(as_plain(value)) if isinstance(value, (np.generic, np.ndarray, Tensor)) else value


def parse_call(text: str, example: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Parse a name, or a name with values and options in parentheses, into (name, positional values, options).

    Args:
        text: the text; a value is a Python literal, a word, or another call, which stays text.
        example: a text of the right form, for messages.

    >>> parse_call("spline(bins=5, mask=[[1, 0], [0, 1]])", "")
    ('spline', [], {'bins': 5, 'mask': [[1, 0], [0, 1]]})
    >>> parse_call("StudentT(4.)", ""), parse_call("rgflow(bijector=spline(bins=5))", "")
    (('StudentT', [4.0], {}), ('rgflow', [], {'bijector': 'spline(bins=5)'}))
    """
    match = re.fullmatch(r"\s*([\w-]+)(?:\((.*)\))?\s*", text, re.DOTALL)
    source = "" if match is None else f"f({match[2] or ''})"
    try:
        call: Any = ast.parse(source, mode="eval").body
        values, options = call.args, {keyword.arg: keyword.value for keyword in call.keywords}
        if match is None or not isinstance(call.func, ast.Name) or None in options or len(options) < len(call.keywords):
            raise ValueError(text)
        parts = [parse_value(ast.get_source_segment(source, node) or "") for node in (*values, *options.values())]
    except (ValueError, SyntaxError, AttributeError) as error:
        raise InputError(f"a name, or a name with options such as {example}", repr(text)) from error
    return match[1], parts[: len(values)], dict(zip(options, parts[len(values) :], strict=True))


def parse_assignments(text: str) -> dict[str, Any]:
    """Parse options NAME=VALUE with spaces or commas between them; a value is a Python literal, JSON, or else text.

    >>> parse_assignments("betas=(0.9, 0.99) amsgrad=true root=/data/x")
    {'betas': (0.9, 0.99), 'amsgrad': True, 'root': '/data/x'}
    >>> parse_assignments('name = "a = b", number="3"')
    {'name': 'a = b', 'number': '3'}
    """
    try:
        pairs = [
            re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=(.+)", part, re.DOTALL) for part in BETWEEN.split(text.strip(" ,"))
        ]
        options = {pair[1]: parse_value(pair[2].strip()) for pair in pairs if pair is not None}
    except ValueError:
        pairs, options = [], {}
    if not options or len(options) < len(pairs):
        raise InputError('options such as rate=0.1 flag=true sizes=[1,2] name="a b"', repr(text))
    return options


def parse_value(text: str) -> Any:
    """Parse a Python literal, JSON, or else a word or a call, which stay text.

    >>> parse_value("8,6,4"), parse_value("true"), parse_value("coupling(layers=2)")
    ((8, 6, 4), True, 'coupling(layers=2)')
    """
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(text)
        except (ValueError, SyntaxError):
            continue
    if not text or re.search(r"[\s\[\]{}\"'=,]|^\(", re.sub(r"^[\w-]+\(.*\)$", "", text, flags=re.DOTALL)):
        raise InputError("a value such as 4, 0.5, 8,6,4, true or a word", repr(text)) from None
    return WORDS.get(text, text)
