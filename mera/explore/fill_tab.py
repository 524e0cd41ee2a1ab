"""Tab with fillings of marked pixels, and a map of minus log p."""

from __future__ import annotations

import torch
from nicegui import ui
from torch import Tensor

from mera._utils.errors import InputError
from mera.explore.pictures import address_of, picture_element
from mera.explore.visit import Visit


class FillTab:
    """A rectangle to mark, fillings of the marked pixels, and a map of minus log p over the pixels."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    def build(self) -> None:
        """Build the elements of the tab."""
        rows, columns = self.visit.learnt.flow.plan.input.shape
        ui.label("Mark pixels on the image, or a rectangle by numbers, and fill them; only their cone is evaluated.")
        with ui.row().classes("items-center"):
            self.spans = [
                ui.number(name, value=value, min=0, max=most, step=1, format="%d").classes("w-24")
                for name, value, most in (
                    ("first row", rows // 3, rows), ("row after the last", rows // 2, rows),
                    ("first column", columns // 3, columns), ("column after the last", columns // 2, columns),
                )
            ]  # fmt: skip
            ui.button("Mark the rectangle", on_click=self._mark).props("outline")
            self.button = ui.button("Fill", on_click=self._fill)
        self.fillings = ui.row().classes("gap-3")
        self.visit.watchers.append(self._clear_fillings)
        ui.separator()
        ui.label("Where the model pays: bright pixels cost the most bits.")
        ui.button("Show the map", on_click=self._show_cost).props("outline")
        self.cost = picture_element("map of the cost", 40)

    def _clear_fillings(self) -> None:
        """Remove the fillings, which belong to the image before a change."""
        if self.fillings.default_slot.children:
            self.fillings.clear()

    def _mark(self) -> None:
        """Mark all pixels of the rectangle."""
        with self.visit.reporting():
            if any(span.value is None for span in self.spans):
                raise InputError("four numbers for a rectangle", "an empty field")
            top, bottom, left, right = (int(span.value) for span in self.spans)
            if top >= bottom or left >= right:
                raise InputError("a rectangle that ends after its start", f"{top} to {bottom}, {left} to {right}")
            self.visit.mask[top:bottom, left:right] = True
            self.visit.marked()

    async def _fill(self) -> None:
        """Compute several fillings of the marked pixels, and show them."""
        mask, before = self.visit.mask.clone(), self.visit.studio.data.clone()
        self.button.disable()
        fillings = await self.visit.slowly("filling", self.visit.studio.fill, mask)
        self.button.enable()
        self.fillings.clear()
        if fillings is None:
            return
        if not torch.equal(before, self.visit.studio.data):
            ui.notify("The image changed meanwhile; its fillings are dropped.")
            return
        with self.fillings:
            ui.label(self.visit.studio.convergence).classes("w-full text-sm")
            for number, filling in enumerate(fillings, start=1):
                with ui.column().classes("items-center gap-1"):
                    picture_element(f"filling {number}", 24, self.visit.learnt.picture(filling))
                    ui.button("Take it", on_click=lambda filling=filling: self._take(filling)).props("outline size=sm")

    def _take(self, filling: Tensor) -> None:
        with self.visit.reporting():
            self.visit.studio.replace(filling)
            self.visit.unmark()
            self.visit.changed()

    def _show_cost(self) -> None:
        with self.visit.reporting():
            self.cost.set_source(address_of(self.visit.studio.cost()))
