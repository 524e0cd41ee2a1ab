"""Registries: functions that users call by name, and their options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError

__all__ = ["Registry", "plain"]

EMPTY = inspect.Parameter.empty

F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[F]):
    """Functions that users call by name.

    Args:
        what: what messages call a registered function, with an article: "a model", say.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._functions: dict[str, F] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """A decorator that registers a function under a name.

        Args:
            name: the name.

        Raises:
            ValueError: if the name is no text, or is taken.
        """
        if not isinstance(name, str) or not name:
            raise InputError(f"a name of {self.what} as text", repr(name))

        def decorate(function: F) -> F:
            if name in self._functions:
                raise ValueError(f"Expected a name of {self.what} that is not taken; got {name!r}")
            self._functions[name] = function
            return function

        return decorate

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._functions)

    def get(self, name: str) -> F:
        """The function that is registered under a name.

        Args:
            name: the name.

        Raises:
            ValueError: if the name is unknown; the message offers the closest.
        """
        return self._functions[check_choice(name, self.names(), self.what)]

    def defaults(self, name: str) -> dict[str, Any]:
        """The defaults of a registered function's options, by the name of the option; required options are left out.

        Args:
            name: the name of the function.

        Raises:
            ValueError: if the name is unknown.
        """
        parameters = self._parameters(name)
        return {parameter.name: parameter.default for parameter in parameters if parameter.default is not EMPTY}

    def check_options(self, name: str, options: Iterable[str]) -> None:
        """Refuse options that a registered function does not have, and miss the ones that it requires.

        Args:
            name: the name of the function.
            options: the names of the options.

        Raises:
            ValueError: if an option is unknown, in which case the message offers the closest, or a required one is
                missing.
        """
        options = set(options)
        parameters = self._parameters(name)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            for option in options:
                check_choice(option, [parameter.name for parameter in parameters], f"an option of {name!r}")
        for parameter in parameters:
            is_named = parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
            if is_named and parameter.default is EMPTY and parameter.name not in options:
                raise InputError(f"the option {parameter.name!r} of {name!r}", "none")

    def takes(self, name: str, option: str) -> bool:
        """Whether a registered function has an option.

        Args:
            name: the name of the function.
            option: the name of the option.

        Raises:
            ValueError: if the name of the function is unknown.
        """
        parameters = self._parameters(name)
        return any(p.name == option or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)

    def _parameters(self, name: str) -> list[inspect.Parameter]:
        return list(inspect.signature(self.get(name)).parameters.values())


def plain(value: Any) -> Any:
    """Convert the value of an option to Python's own numbers and to tuples, which can be compared and written to files.

    Args:
        value: the value. Sequences, mappings, arrays and tensors are converted, also within each other; any other
            object is returned as it is.

    >>> plain({"mask": np.array([[True, False]]), "bins": np.int64(5), "name": "spline"})
    {'mask': ((True, False),), 'bins': 5, 'name': 'spline'}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return tuple(plain(item) for item in value)
    return plain(value.tolist()) if isinstance(value, (np.generic, np.ndarray, Tensor)) else value
