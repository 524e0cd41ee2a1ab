"""Mixing with a second image by scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from mera.explore.pictures import address_of
from mera.explore.studio import Studio

if TYPE_CHECKING:
    from mera.explore.page import Page

__all__ = ["MixTab"]


class MixTab:
    """A second image, and what both give when they are mixed at each level.

    Args:
        page: the page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.other = Studio(page.learnt)

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
        with self.page.reporting():
            self.other.draw()
            self._show()

    def _take(self) -> None:
        with self.page.reporting():
            self.other.replace(self.page.studio.data)
            self._show()

    def _show_mixtures(self) -> None:
        with self.page.reporting():
            self._show()

    def _show(self) -> None:
        """Show the mixtures at all levels."""
        self.picture.set_source(address_of(self.other.picture))
        self.mixtures.clear()
        with self.mixtures:
            for level in range(1, self.page.learnt.levels):
                mixture = self.page.studio.mixture(self.other, level)
                with ui.column().classes("items-center gap-1"):
                    source = address_of(self.page.learnt.picture(mixture))
                    ui.interactive_image(source).classes("picture w-24").props(
                        f'role="img" aria-label="mixture from z{level} on"'
                    )
                    ui.button(f"z{level} and coarser", on_click=lambda level=level: self._keep(level)).props(
                        "outline size=sm"
                    )

    def _keep(self, level: int) -> None:
        with self.page.reporting():
            self.page.studio.replace(self.page.studio.mixture(self.other, level))
            self.page.changed()
