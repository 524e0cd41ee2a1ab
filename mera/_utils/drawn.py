"""The base class of objects that `mera.drawing` can draw.

Rooms above the drawings need no more than this base class; matplotlib is imported when a picture is asked for.
"""

from __future__ import annotations

from typing import Any

from mera._utils.errors import InputError


class Drawn:
    """An object with a picture, which notebooks show: a layout, a cone, a measurement, an inpainting, a data set.

    >>> import mera
    >>> layout = mera.Layout((8, 8), channels=1)
    >>> layout.latent(layout.local(layout.input, "coupling", kernel=4, name="patches"))
    >>> figure = layout.draw()
    >>> len(figure.axes)
    1
    """

    def draw(self) -> Any:
        """The picture of the object: a figure of matplotlib, or an image of PIL for a data set.

        Both have a method that writes a file, `savefig` of a figure and `save` of an image.

        Raises:
            ValueError: if there is nothing to draw, such as a picture of data that are not images.
        """
        from mera.drawing.draw import draw  # late, since it imports all objects and matplotlib

        return draw(self)

    def _repr_png_(self) -> bytes | None:
        """The picture as a PNG, for notebooks; None if there is nothing to draw."""
        try:
            picture = self.draw()
        except InputError:
            return None
        return picture._repr_png_()
