"""The error for wrong arguments, with the expected and the passed value; this module does not import torch."""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Iterable
from typing import Any

MAX_CHARACTERS = 450
"""The most characters of each half of a message."""
IMPORT_FIRST = "; import the module that registers it first (mera --import MODULE)"
"""The end of a message about a name that no registry has, and that is not close to another one."""


class InputError(ValueError):
    """An argument that a function does not accept; the message is "Expected {expected}; got {got}".

    Args:
        expected: a description of the expected value.
        got: a description of the actual value.
        where: the file or the node of the error, which begins the message; "" for none.
    """

    def __init__(self, expected: str, got: str, *, where: str = "") -> None:
        expected, got = _clipped(expected), _clipped(got)
        message = f"Expected {expected}; got {got}" if got else expected
        super().__init__(f"{where}: {message}" if where else message)
        self.expected, self.got = expected, got

    def __reduce__(self) -> Any:
        """Support for pickling, which would otherwise call the class with the message alone."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


def with_notes(error: BaseException) -> str:
    """The message of an error after its notes, the outermost first: "my.toml: node 'halve': ..."."""
    return ": ".join([*reversed(getattr(error, "__notes__", [])), str(error)])


def _clipped(text: str) -> str:
    """A text of at most `MAX_CHARACTERS` characters: its beginning and its end, if it is longer."""
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS // 2]} ... {text[-MAX_CHARACTERS // 2 :]}"


def closest(word: object, choices: Iterable[str]) -> str:
    """The end of a message that offers the closest choice; empty if none is close.

    >>> closest("Rgflo", ["rgflow", "glow"])
    " (did you mean 'rgflow'?)"
    """
    lower = {str(choice).lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(word).lower(), lower, n=1)
    return f" (did you mean {lower[close[0]]!r}?)" if close else ""
