"""The error for wrong arguments, which says what was expected and what was passed instead; without torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "closest"]


class InputError(ValueError):
    """An argument is not what a function expects; the message is "Expected ...; got ...".

    Args:
        expected: a description of what the function expects.
        got: a description of what was passed.
    """

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"Expected {expected}; got {got}")
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        """For pickling, which would call the class with the message alone."""
        return type(self), (self.expected, self.got)


def closest(word: object, choices: Iterable[str]) -> str:
    """The end of a message that offers the closest choice; empty if none is close.

    Args:
        word: the argument as it was passed.
        choices: the words that are accepted.

    >>> closest("Rgflo", ["rgflow", "glow"])
    " (did you mean 'rgflow'?)"
    """
    lower = {str(choice).lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(word).lower(), lower, n=1)
    return f" (did you mean {lower[close[0]]!r}?)" if close else ""
