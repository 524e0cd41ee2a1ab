"""Mixing with a second image by scale."""

from __future__ import annotations

from nicegui import ui

from mera.explore.pictures import address_of
from mera.explore.studio import Studio
from mera.explore.visit import Visit


class MixTab:
    """A second image, and what both give when they are mixed at each level.

    Args:
        visit: the image and the marked pixels.
    """

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.other = Studio(visit.learnt)

    def build(self) -> None:
        """Make the elements."""
        ui.label("Coarse levels of the image, fine levels of another one. Choose a mixture to keep it.")
        with ui.row().classes("items-center"):
            self.picture = (
                ui.interactive_image().classes("picture w-24").props('role="img" aria-label="the other image"')
            )
            ui.button("Another image", on_click=self._draw)
            ui.button("Take the current image", on_click=self._take).props("outline")
            ui.button("Show the mixtures", on_click=self._show_mixtures).props("outline")
        self.mixtures = ui.row().classes("gap-3")
        self.picture.set_source(address_of(self.other.picture))

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
        """Show the mixtures at all levels."""
        self.picture.set_source(address_of(self.other.picture))
        self.mixtures.clear()
        with self.mixtures:
            for level in range(1, self.visit.learnt.levels):
                mixture = self.visit.studio.mixture(self.other, level)
                with ui.column().classes("items-center gap-1"):
                    source = address_of(self.visit.learnt.picture(mixture))
                    ui.interactive_image(source).classes("picture w-24").props(
                        f'role="img" aria-label="mixture from z{level} on"'
                    )
                    ui.button(f"z{level} and coarser", on_click=lambda level=level: self._keep(level)).props(
                        "outline size=sm"
                    )

    def _keep(self, level: int) -> None:
        with self.visit.reporting():
            self.visit.studio.replace(self.visit.studio.mixture(self.other, level))
            self.visit.changed()
