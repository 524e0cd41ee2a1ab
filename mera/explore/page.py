"""The page of the explorer: the image on the left, and tabs with tools on the right."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from nicegui import events, ui
from torch import Tensor

from mera.drawing.images import to_pil
from mera.explore.studio import MAX_UPLOAD, Learnt
from mera.explore.tabs import FillTab, LevelsTab, MapTab, outlined, squares
from mera.explore.visit import Visit

PRIMARY = "#1f6299"
"""The colour of buttons, which has enough contrast with white text."""
HINT = "Move a slider on the right and watch; drag on the image to mark pixels to fill."
HINT_OF_WINDOW = f"Choose a window in the photograph; its enlargement is the image. {HINT}"
"""The sentence below the title, without and with a photograph."""
STYLE = """
.now { width: 100%; }
.picture img { image-rendering: pixelated; }
.q-uploader__list, .q-uploader__subtitle { display: none; }
.q-notification .q-btn { color: white !important; }
.body--dark .text-primary { color: #9ecbf0 !important; }
@media (max-width: 767px) {  /* the image stays in sight while what changes it is scrolled */
  .beside { display: contents; }
  .now { position: sticky; top: 3.5rem; z-index: 2; padding: 0.5rem 0; background: white; }
  .body--dark .now { background: #121212; }
  .now .picture { width: 9rem; }
}
"""
"""CSS of the page."""


class Page:
    """The page of one visitor of a flow; an `image` (C, H, W) is opened."""

    def __init__(self, learnt: Learnt, image: Tensor | None = None) -> None:
        self.visit = Visit(learnt)
        self._drag: tuple[int, int, bool, Tensor] | None = None  # the first pixel, the value, and the marks before
        ui.add_css(STYLE)
        ui.colors(primary=PRIMARY)
        ui.add_head_html('<script>document.documentElement.lang = "en"</script>')
        with ui.header():
            ui.label(learnt.title).classes("text-lg").props('role="heading" aria-level="1"')
        with ui.element("div").classes(
            "flex flex-col flex-nowrap gap-6 w-full md:grid md:grid-cols-[minmax(18rem,2fr)_minmax(0,3fr)]"
        ):
            with ui.column().classes("beside w-full"):
                self._add_picture()
            with ui.column().classes("w-full"):
                self._add_tabs()
        self.visit.has_left = lambda: self.now.is_deleted
        self.visit.watchers.append(self._show)
        self.visit.marked = lambda: self.now.set_content(squares(self.visit.mask))
        if image is not None:
            self.visit.change(self.visit.studio.show, image)
        ui.timer(0.3, self.map.open, once=True)  # once the page is there
        self.visit.changed()

    def _show(self) -> None:
        """Show the current image, and its bits per dimension."""
        studio, learnt = self.visit.studio, self.visit.learnt
        self.now.set_source(to_pil(studio.picture))
        has_photograph = studio.photograph is not None
        self.photograph.set_visibility(has_photograph)
        self.now.classes(remove="max-w-xs max-w-md", add="max-w-xs" if has_photograph else "max-w-md")
        if has_photograph:
            self.photograph.set_source(to_pil(studio.whole))
            (row, column), (height, width) = studio.corner, learnt.flow.plan.input.shape
            frame = f'x="{column}" y="{row}" width="{width}" height="{height}"'
            self.photograph.set_content(f'<rect {frame} fill="none" stroke="#e0218a" stroke-width="2"/>')
        self.hint.set_text(HINT_OF_WINDOW if has_photograph else HINT)
        self.facts.set_text(f"{studio.bits_per_dim():.3f} bits/dim{learnt.note}")

    def _add_picture(self) -> None:
        """Add the photograph, the current image, and buttons."""
        visit, studio = self.visit, self.visit.studio
        self.photograph = ui.interactive_image(on_mouse=self._look, events=["mousedown"], cross=False, sanitize=False)
        self.photograph.classes("w-full cursor-pointer").props('role="img" aria-label="the photograph"')
        with ui.element("div").classes("now"):
            mouse_events = ["mousedown", "mousemove", "mouseup", "mouseleave"]
            self.now = ui.interactive_image(on_mouse=self._paint, events=mouse_events, cross=False, sanitize=False)
        self.now.classes("picture w-full cursor-crosshair").props('role="img" aria-label="the image"')
        self.facts = ui.label().classes("text-sm").props('role="status"')
        self.hint = ui.label().classes("text-sm opacity-70")
        with ui.row().classes("gap-2 items-center"):
            ui.button("New image", on_click=lambda: visit.change(studio.draw))
            outlined("Undo", self._undo)
            outlined("Unmark", visit.unmark)
            outlined("Save", self._save)
        self.opener = ui.upload(
            label="or open a picture", on_upload=self._upload, on_rejected=self._reject,
            auto_upload=True, max_files=None, max_file_size=MAX_UPLOAD,
        )  # fmt: skip
        self.opener.classes("w-full max-w-lg").props('accept="image/*" aria-label="open a picture"')

    def _add_tabs(self) -> None:
        """Add all tabs; only the map is computed without a click."""
        makers: dict[str, Callable[[Visit], Any]] = {"Map": MapTab, "Levels": LevelsTab, "Fill": FillTab}
        with ui.tabs().props('align="left" no-caps') as bar:
            for name in makers:
                ui.tab(name)
        tabs: dict[str, Any] = {}
        with ui.tab_panels(bar, value="Map", animated=False).classes("w-full").props("keep-alive"):
            for name, make in makers.items():
                with ui.tab_panel(name).classes("p-0 pt-2"):
                    tabs[name] = make(self.visit)
        self.map: MapTab = tabs["Map"]

    def _paint(self, event: events.MouseEventArguments) -> None:
        """Mark a rectangle, or unmark it if its first pixel was marked."""
        mask = self.visit.mask
        places = zip(mask.shape, (event.image_y, event.image_x), strict=True)
        row, column = (min(n - 1, max(0, int(place))) for n, place in places)
        if event.type == "mousedown":
            self._drag = row, column, not bool(mask[row, column]), mask.clone()
        elif event.type != "mousemove":
            self._drag = None
        if self._drag is None:
            return
        first_row, first_column, value, before = self._drag
        mask.copy_(before)
        (top, bottom), (left, right) = sorted((first_row, row)), sorted((first_column, column))
        mask[top : bottom + 1, left : right + 1] = value
        self.visit.marked()

    def _look(self, event: events.MouseEventArguments) -> None:
        """Take the window of the photograph around the pointer."""
        self.visit.unmark()
        self.visit.change(self.visit.studio.look, int(event.image_y), int(event.image_x))

    def _save(self) -> None:
        file = BytesIO()
        to_pil(self.visit.studio.whole).save(file, format="PNG")
        ui.download.content(file.getvalue(), "picture.png", "image/png")

    def _undo(self) -> None:
        with self.visit.reporting():
            if not self.visit.studio.undo():
                ui.notify("There is nothing to undo.")
            self.visit.changed()

    async def _upload(self, event: events.UploadEventArguments) -> None:
        content = await event.file.read()
        pixels = await self.visit.slowly("opening the picture", self.visit.studio.read, content)
        if pixels is not None:
            self.visit.change(self.visit.studio.show, pixels)
            await self.map.open()
        self.opener.reset()

    def _reject(self) -> None:
        ui.notify(f"Expected a picture of at most {MAX_UPLOAD // 2**20} MiB; got another file.", type="negative")
