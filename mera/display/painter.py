"""Pictures of results in notebooks, drawn by a function that `mera` registers. Few imports keep `import mera` fast."""

from __future__ import annotations

from collections.abc import Callable

Painter = Callable[[object], "bytes | None"]
"""A function from a result to its picture as a PNG; None for a result without a picture."""

_load_painter: list[Callable[[], Painter]] = []


def register_painter(load: Callable[[], Painter]) -> None:
    """Set the function that draws results in notebooks; it replaces an earlier function.

    Args:
        load: returns the function; called when a picture is drawn, so that matplotlib is imported only then.
    """
    _load_painter[:] = [load]


def picture_of(result: object) -> bytes | None:
    """The picture of a result as a PNG; None without a painter, or if the painter cannot draw such a result."""
    return _load_painter[0]()(result) if _load_painter else None


class Pictured:
    """The base class of results that notebooks show as a picture."""

    def _repr_png_(self) -> bytes | None:
        """The picture as a PNG for notebooks; None for a result without a picture."""
        return picture_of(self)
