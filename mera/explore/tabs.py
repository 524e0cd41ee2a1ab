"""Tabs of the page: the map, latents by level, fillings of marked pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from nicegui import ui
from PIL import Image
from torch import Tensor

from mera.analysis.latents import LatentIndex
from mera.drawing.images import to_pil
from mera.explore.visit import Visit

MAX_VALUE = 4.0
"""The sliders range from minus to plus this value, in units of the latents."""
THROTTLE = 0.05
"""The shortest time between two values that a slider sends, in seconds."""


def picture_element(label: str, width: int, picture: Tensor) -> None:
    """Add a picture, (1 or 3, H, W) uint8, to the page; `label` is for screen readers, `width` in units of 0.25 rem."""
    # Only mera draws on pictures, so a sanitizer, which may load after the picture is gone, is not needed.
    element = ui.interactive_image(to_pil(picture), sanitize=False)
    element.classes(f"picture w-{width}").props(f'role="img" aria-label="{label}"')


def squares(mask: Tensor) -> str:
    """Draw the pixels of a bool mask (H, W) as SVG squares, on top of a picture."""
    boxes = "".join(f'<rect x="{column}" y="{row}" width="1" height="1"/>' for row, column in mask.nonzero().tolist())
    return f'<g fill="#e0218a" fill-opacity="0.6">{boxes}</g>'


def outlined(text: str, act: Callable[..., Any]) -> ui.button:
    """Add a button without a filling, which calls a function."""
    return ui.button(text, on_click=act).props("outline")


class LevelsTab:
    """A panel for each level, the coarsest first."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.studio = visit, visit.studio
        for level in reversed(range(len(visit.learnt.flow.plan.latents))):
            self._add_level(level)

    def _add_level(self, level: int) -> None:
        """Add the panel of a level; its leading latents are computed when the panel is first opened."""
        lattice = self.visit.learnt.flow.plan.latents[level].lattice
        name = f"z{level}: {lattice.channels} at each of {' x '.join(map(str, lattice.shape))} sites"
        with ui.expansion(name).classes("w-full border rounded").props(f'data-level="{level}"') as panel:
            outlined("Redraw the level", lambda: self.visit.change(self.studio.redraw, level))
            latents = ui.row().classes("gap-6")

        async def open_panel() -> None:
            if panel.value and not latents.default_slot.children:
                leads = await self.visit.slowly("looking for the strongest latents", self.visit.learnt.leads, level)
                if not latents.default_slot.children:  # unless the panel was opened twice meanwhile
                    with latents:
                        for lead in leads or ():
                            self._add_lead(*lead)

        panel.on_value_change(open_panel)

    def _add_lead(self, latent: LatentIndex, thumbnail: Tensor) -> None:
        """Add the receptive field and the slider of a latent."""
        level, channel, *site = latent
        name = f"z{level}, channel {channel}, site {tuple(site)}"
        with ui.column().classes("items-center gap-0 w-32"):
            picture_element(f"receptive field of {name}", 20, thumbnail)
            slider = ui.slider(min=-MAX_VALUE, max=MAX_VALUE, step=0.05, value=self._value(latent))
            slider.props(f'label aria-label="{name}"')
            ui.label(f"channel {channel} at {tuple(site)}").classes("text-xs")
        slider.on("update:model-value", lambda event: self._set(latent, event.args), throttle=THROTTLE)
        self.visit.followers.append(lambda: slider.set_value(self._value(latent)))

    def _value(self, latent: LatentIndex) -> float:
        """The value of a latent, clamped to the range of a slider."""
        return round(max(-MAX_VALUE, min(MAX_VALUE, self.studio.value(latent))), 2)

    def _set(self, latent: LatentIndex, value: float) -> None:
        with self.visit.reporting():
            self.studio.set(latent, float(value))
            self.visit.shown()


class FillTab:
    """Fillings of the marked pixels."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        ui.label("Mark pixels on the image, and fill them; only their cone is evaluated.")
        self.button = ui.button("Fill", on_click=self._fill)
        self.fillings = ui.row().classes("gap-3")
        visit.watchers.append(self.fillings.clear)  # which belong to the image before a change

    async def _fill(self) -> None:
        """Compute several fillings of the marked pixels, and show them."""
        mask, before = self.visit.mask.clone(), self.visit.studio.data.clone()
        if not mask.any():
            ui.notify("First mark the pixels to fill: drag a rectangle on the image.")
            return
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
                    outlined("Take it", partial(self._take, filling)).props("size=sm")

    def _take(self, filling: Tensor) -> None:
        self.visit.unmark()
        self.visit.change(self.visit.studio.replace, filling)


class MapTab:
    """A map of minus log p over the pixels of the photograph or the image."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        ui.label("Bits per dimension by place and level: bright places surprise the flow most.")
        with ui.row():
            ui.button("Draw the map", on_click=self.draw)
            outlined("Go to the most surprising window", self._go)
        self.figure = ui.column().classes("w-full")

    async def draw(self) -> None:
        """Draw the map of the present picture."""
        picture = await self.visit.slowly("drawing the map of the cost", self.visit.studio.cost)
        if picture is not None:
            self.figure.clear()
            with self.figure:
                image = ui.image(Image.open(io.BytesIO(picture._repr_png_()))).classes("w-full max-w-5xl")
                image.props('alt="map of the cost"')

    async def open(self) -> None:
        """Draw the map of the first image, or of a picture that was opened, and go to its most surprising window."""
        await self.draw()
        self._go()

    def _go(self) -> None:
        if self.visit.studio.photograph is not None and any(self.visit.studio.surprising):
            self.visit.change(self.visit.studio.look, *self.visit.studio.surprising)
