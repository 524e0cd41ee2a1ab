"""The door to pictures: objects that `mera.drawing`, which knows all of them, draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mera._utils.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawn:
    """An object with a picture, which notebooks show."""

    def draw(self) -> Figure:
        """The picture of the object, a figure of matplotlib.

        Raises:
            ValueError: if there is nothing to draw, such as a picture of data that are not images.
        """
        from mera.drawing.draw import draw  # late: it knows all objects, and matplotlib takes a second

        return draw(self)

    def _repr_png_(self) -> bytes | None:
        """The picture as a PNG, for notebooks; None if there is nothing to draw."""
        try:
            return self.draw()._repr_png_()  # type: ignore[attr-defined]
        except InputError:
            return None
