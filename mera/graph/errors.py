"""The error of layouts, with the node, the setting and the file that are wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

from mera._utils.errors import InputError


class LayoutError(InputError):
    """A layout is not a bijection, or a file does not describe a layout.

    The message names the node, the expected and the actual value, and also the setting and the file of a layout that
    was read from a file. Each argument is an attribute of the error.

    Args:
        expected: a description of the expected value; "" for the error of a user's bijector with its own message.
        got: a description of the actual value, or the message of the user's bijector.
        node: the name of the node, or "#7" for the seventh node of a file if that node has no name; None if the error
            is about the layout as a whole.
        field: the setting of the node that is wrong; None if the error is not about a single setting.
        source: the file that the layout was read from; None for a layout that was built in Python.
        kind: the kind of the error; see `InputError`.

    >>> from mera.graph import Layout, LayoutError
    >>> layout = Layout((8,), channels=1)
    >>> try:
    ...     layout.squeeze(layout.input, stride=3, name="halve")
    ... except LayoutError as error:
    ...     print(error)
    ...     print(error.node, error.field, error.expected, error.got, sep=" | ")
    node 'halve': Expected an edge that the stride 3 divides; got a lattice of edge 8
    halve | stride | an edge that the stride 3 divides | a lattice of edge 8
    """

    def __init__(
        self,
        expected: str = "",
        got: str = "",
        *,
        node: object = None,
        field: str | None = None,
        source: str | None = None,
        kind: str = "",
    ) -> None:
        super().__init__(expected, got, kind=kind)
        self.node = node
        self.field = field
        self.source = source

    @classmethod
    def from_error(cls, error: ValueError, **where: Any) -> LayoutError:
        """Turn any `ValueError` into a `LayoutError` with a location.

        Args:
            error: the error.
            where: `node`, `field` or `source`, for attributes that the error does not have yet.
        """
        if not isinstance(error, InputError):
            return cls("", str(error), **where)
        if error.where:
            return cls("", str(error), **where, kind=error.kind)
        attributes = {name: getattr(error, name, None) for name in ("node", "field", "source", "kind")}
        kept: dict[str, Any] = {name: value for name, value in attributes.items() if value is not None}
        return cls(error.expected, error.got, **where | kept)

    def __str__(self) -> str:
        parts = []
        if self.source is not None:
            parts.append(self.source)
        if self.node is not None:
            parts.append(f"node {self.node!r}")
        if self.source is not None and self.field is not None:
            parts.append(f"field {self.field!r}")
        parts.append(f"Expected {self.expected}; got {self.got}" if self.expected else self.got)
        return ": ".join(parts)

    def __reduce__(self) -> Any:
        """Support pickling, which by default would call the class with the message as its only argument."""
        parts: dict[str, Any] = {"node": self.node, "field": self.field, "source": self.source, "kind": self.kind}
        return partial(type(self), **parts), (self.expected, self.got)
