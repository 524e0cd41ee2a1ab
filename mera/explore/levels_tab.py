"""Tab with the latents by level: temperature, redrawing, and sliders for the leading latents."""

from __future__ import annotations

from nicegui import ui
from torch import Tensor

from mera.analysis.latents import LatentIndex
from mera.explore.pictures import picture_element
from mera.explore.visit import Visit

REACH = 4.0
"""The sliders range from -REACH to REACH, in units of the latents."""
EVERY = 0.05
"""The shortest time between two values that a slider sends, in seconds."""


class LevelsTab:
    """A panel for each level, the coarsest first."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.studio = visit, visit.studio

    def build(self) -> None:
        """Build the elements of the tab."""
        for level in reversed(range(self.visit.learnt.levels)):
            self._build_level(level)

    def _build_level(self, level: int) -> None:
        """Build the panel of a level; its leading latents are computed when the panel is first opened."""
        lattice = self.visit.learnt.flow.plan.latents[level].lattice
        name = f"z{level}: {lattice.channels} at each of {' x '.join(map(str, lattice.shape))} sites"
        with ui.expansion(name).classes("w-full border rounded").props(f'data-level="{level}"') as panel:
            with ui.row().classes("items-center gap-4"):
                ui.label("temperature")
                ui.slider(min=0.1, max=1.5, step=0.05, value=1.0).classes("w-32").props(
                    f'label aria-label="temperature of level {level}"'
                ).on_value_change(lambda event: self._set_temperature(level, event.value))
                redraw, below = self.studio.redraw, self.studio.redraw_below
                ui.button("Redraw the level", on_click=lambda: self.visit.change(redraw, level)).props("outline")
                ui.button(
                    "Redraw below the marked pixels", on_click=lambda: self.visit.change(below, level, self.visit.mask)
                ).props("outline")
            latents = ui.row().classes("gap-6")

        async def open_panel() -> None:
            if panel.value and not latents.default_slot.children:
                leads = await self.visit.slowly("looking for the strongest latents", self.visit.learnt.leads, level)
                if not latents.default_slot.children:  # unless the panel was opened twice meanwhile
                    with latents:
                        for lead in leads or ():
                            self._build_lead(*lead)

        panel.on_value_change(open_panel)
        if level == self.visit.learnt.levels - 1:
            ui.timer(0.3, lambda: panel.set_value(True), once=True)  # once the page is there

    def _build_lead(self, latent: LatentIndex, thumbnail: Tensor) -> None:
        """Build the receptive field and the slider of a latent."""
        level, channel, *site = latent
        name = f"z{level}, channel {channel}, site {tuple(site)}"
        with ui.column().classes("items-center gap-0 w-32"):
            picture_element(f"receptive field of {name}", 20, thumbnail)
            slider = ui.slider(min=-REACH, max=REACH, step=0.05, value=self._value(latent))
            slider.props(f'label aria-label="{name}"')
            ui.label(f"channel {channel} at {tuple(site)}").classes("text-xs")
        slider.on("update:model-value", lambda event: self._set(latent, event.args), throttle=EVERY)
        self.visit.followers.append(lambda: slider.set_value(self._value(latent)))

    def _value(self, latent: LatentIndex) -> float:
        """The value of a latent, clamped to the range of a slider."""
        return round(max(-REACH, min(REACH, self.studio.value(latent))), 2)

    def _set(self, latent: LatentIndex, value: float) -> None:
        with self.visit.reporting():
            self.studio.set(latent, float(value))
            self.visit.shown()

    def _set_temperature(self, level: int, value: float) -> None:
        self.studio.temperatures[level] = float(value)
