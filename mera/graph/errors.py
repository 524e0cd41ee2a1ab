"""The one error of layouts."""

from __future__ import annotations

from typing import Any

from mera._utils.errors import InputError

__all__ = ["LayoutError"]


class LayoutError(InputError):
    """A layout that cannot be a bijection, or a file that cannot be a layout.

    The message names the node, what was expected and what was given; in a layout that was read from a file, it names
    the file and the field of the node too.

    Args:
        expected: what would have been right.
        got: what was given.
        node: the name of the node, or "#7" for the seventh node of a file, if that has no name; None if the layout as
            a whole is wrong.
        field: the setting of the node that is wrong, if a single one is.
        source: the file that the layout was read from.

    Attributes:
        expected: as given; "" if a bijector of the user's own refused the node in words of its own.
        got: as given, or what that bijector said.
        node: as given.
        field: as given.
        source: as given.

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
    ) -> None:
        super().__init__(expected, got)
        self.node = node
        self.field = field
        self.source = source

    @classmethod
    def from_error(cls, error: ValueError, **where: Any) -> LayoutError:
        """The layout's error for any error, with the same parts as far as it has them.

        Args:
            error: what was raised.
            where: `node`, `field` or `source`, for an error that does not have them yet.
        """
        if not isinstance(error, InputError):
            return cls("", str(error), **where)
        own = {name: value for name in ("node", "field", "source") if (value := getattr(error, name, None)) is not None}
        return cls(error.expected, error.got, **{**where, **own})

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
        """For pickling: the parts by name."""
        parts = {"node": self.node, "field": self.field, "source": self.source}
        return _rebuild, (self.expected, self.got, parts)


def _rebuild(expected: str, got: str, parts: dict[str, Any]) -> LayoutError:
    return LayoutError(expected, got, **parts)
