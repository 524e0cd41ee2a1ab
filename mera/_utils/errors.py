"""The error for wrong arguments, which says what was expected and what was passed instead."""

from __future__ import annotations

__all__ = ["InputError"]


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
