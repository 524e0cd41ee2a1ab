"""The error that says what was expected and what came instead."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Something that a user passed is not what a function expects: "Expected ...; got ...".

    Args:
        expected: what would have been right.
        got: what was passed.
    """

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"Expected {expected}; got {got}")
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        """For pickling, which would call the class with the message alone."""
        return type(self), (self.expected, self.got)
