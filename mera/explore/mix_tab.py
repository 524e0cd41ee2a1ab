"""Tab that mixes the image with a second image, level by level."""

from __future__ import annotations

from nicegui import ui

from mera.explore.pictures import address_of, picture_element
from mera.explore.studio import Studio
from mera.explore.visit import Visit


class MixTab:
    """A second image, and its mixtures with the current image at each level."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.other = Studio(visit.learnt)

    def build(self) -> None:
        """Build the elements of the tab."""
        ui.label("Coarse levels of the image, fine levels of another one. Choose a mixture to keep it.")
        with ui.row().classes("items-center"):
            self.picture = picture_element("the other image", 24, self.other.picture)
            ui.button("Another image", on_click=self._draw)
            ui.button("Take the current image", on_click=self._take).props("outline")
            ui.button("Show the mixtures", on_click=self._show_mixtures).props("outline")
        self.mixtures = ui.row().classes("gap-3")

    def _draw(self) -> None:
        with self.visit.reporting():
            self.other.draw()
            self._show()

    def _take(self) -> None:
        with self.visit.reporting():
            self.other.replace(self.visit.studio.data)
            self._show()

    def _show_mixtures(self) -> None:
        with self.visit.reporting():
            self._show()

    def _show(self) -> None:
        """Show the second image, and the mixtures at all levels."""
        self.picture.set_source(address_of(self.other.picture))
        self.mixtures.clear()
        with self.mixtures:
            for level in range(1, self.visit.learnt.levels):
                mixture = self.visit.studio.mixture(self.other, level)
                with ui.column().classes("items-center gap-1"):
                    picture_element(f"mixture from z{level} on", 24, self.visit.learnt.picture(mixture))
                    button = ui.button(f"z{level} and coarser", on_click=lambda level=level: self._keep(level))
                    button.props("outline size=sm")

    def _keep(self, level: int) -> None:
        self.visit.change(lambda: self.visit.studio.replace(self.visit.studio.mixture(self.other, level)))
