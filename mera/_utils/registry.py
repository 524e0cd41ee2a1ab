"""Functions by name, with options by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from mera._utils.checks import check_choice

__all__ = ["Registry", "plain"]

F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[F]):
    """Functions that users call by name.

    Args:
        what: what the functions make, with an article.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._functions: dict[str, F] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Decorate a function with the name that it is to have.

        Raises:
            ValueError: if the name is taken.
        """

        def decorate(function: F) -> F:
            if name in self._functions:
                raise ValueError(f"Expected a name of {self.what} that is not taken; got {name!r}")
            self._functions[name] = function
            return function

        return decorate

    def names(self) -> list[str]:
        """Every name."""
        return sorted(self._functions)

    def get(self, name: str) -> F:
        """The function of that name.

        Raises:
            ValueError: if there is none.
        """
        return self._functions[check_choice(name, self.names(), self.what)]

    def defaults(self, name: str) -> dict[str, Any]:
        """The options of the function of that name, with their defaults."""
        parameters = inspect.signature(self.get(name)).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters}

    def check_options(self, name: str, options: Iterable[str]) -> None:
        """Refuse options that the function of that name does not have.

        Raises:
            ValueError: if there is one; the message offers the closest.
        """
        for option in options:
            check_choice(option, self.defaults(name), f"an option of {name!r}")


def plain(value: Any) -> Any:
    """An option as Python's own numbers and tuples: equal however it was written, and fit for a file.

    >>> plain({"mask": np.array([[True, False]]), "bins": np.int64(5), "name": "spline"})
    {'mask': ((True, False),), 'bins': 5, 'name': 'spline'}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return tuple(plain(item) for item in value)
    return plain(value.tolist()) if isinstance(value, (np.generic, np.ndarray, Tensor)) else value
