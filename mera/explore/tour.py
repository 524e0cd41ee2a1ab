"""A tour of the page in five steps, which a visitor starts by a button and may skip."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

STEPS = (
    ("Levels", "The image on the left is a sample. Move a slider, and see which pixels its latent changes."),
    ("Levels", "Redraw a whole level: fine levels change details, coarse ones what all pixels have in common."),
    ("Mix", "Keep the coarse levels of this image, and take the fine ones of another. Click a mixture to continue."),
    ("Fill", "Drag on the image to mark pixels, and fill them: only the latents in their cone are computed again."),
    ("Cones", "Which latents does a pixel depend on? Point at it. Undo, on the left, takes any change back."),
)
"""For each step, the tab that it shows, and its text."""


class Tour:
    """The steps in a card at the lower edge of the page, which leaves the page usable.

    Args:
        show: shows a tab by its name.
    """

    def __init__(self, show: Callable[[str], object]) -> None:
        self.show, self._step = show, 0

    def build(self) -> None:
        """Build the button that starts the tour, and the card."""
        ui.button("Tour", on_click=self._start).props("flat color=white")
        with ui.dialog().props("seamless position=bottom") as self.dialog, ui.card().classes("max-w-xl"):
            self.text = ui.label().props('role="status"')
            with ui.row().classes("w-full justify-end"):
                ui.button("Skip", on_click=self.dialog.close).props("flat")
                self.next = ui.button("Next", on_click=self._go_on)

    def _start(self) -> None:
        """Show the first step."""
        self._step = 0
        self._show()
        self.dialog.open()

    def _go_on(self) -> None:
        """Show the next step, or end the tour after the last one."""
        self._step += 1
        if self._step < len(STEPS):
            self._show()
        else:
            self.dialog.close()

    def _show(self) -> None:
        """Show the text and the tab of the current step."""
        tab, text = STEPS[self._step]
        self.text.set_text(f"{self._step + 1} of {len(STEPS)}: {text}")
        self.next.set_text("Next" if self._step + 1 < len(STEPS) else "Done")
        self.show(tab)
