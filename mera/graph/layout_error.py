"""The error of layouts, and where it happened: notes name the node, the setting and the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mera._utils.errors import InputError


class LayoutError(InputError):
    """A layout is not a bijection, or a file does not describe a layout.

    Notes of the error (`__notes__`, which Python prints below the message) name the setting, the node and the file.

    Args:
        expected: a description of the expected value; or the whole message, if `got` is "".
        got: a description of the actual value.
        node: the name of the node; None if the error is about the layout as a whole.
        field: the setting of the node that is wrong; None if the error is not about a single setting.

    >>> from mera.graph import Layout, LayoutError
    >>> layout = Layout((8,), channels=1)
    >>> try:
    ...     layout.squeeze(layout.input, stride=3, name="halve")
    ... except LayoutError as error:
    ...     print(error, *error.__notes__, sep=" | ")
    Expected an edge that the stride 3 divides; got a lattice of edge 8 | setting 'stride' | node 'halve'
    """

    def __init__(self, expected: str, got: str = "", *, node: str | None = None, field: str | None = None) -> None:
        super().__init__(expected, got)
        for word, name in (("setting", field), ("node", node)):
            if name is not None:
                self.add_note(f"{word} {name!r}")


@contextmanager
def within(place: str) -> Iterator[None]:
    """A context whose errors get a note, such as "node 'halve'"; any `ValueError` in it becomes a `LayoutError`."""
    try:
        yield
    except ValueError as error:
        found = error if isinstance(error, LayoutError) else LayoutError(str(error))
        if place not in getattr(found, "__notes__", ()):
            found.add_note(place)
        if found is error:
            raise
        raise found from error
