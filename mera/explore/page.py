"""The page of the explorer: the picture on the left, and what can be done with it in tabs on the right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import torch
from nicegui import events, ui
from PIL import Image

from mera.drawing import draw_layout
from mera.explore.chain_tab import ChainTab
from mera.explore.fill_tab import FillTab
from mera.explore.learnt import Learnt
from mera.explore.levels_tab import LevelsTab
from mera.explore.look import LABELS, PRIMARY, STYLE
from mera.explore.mix_tab import MixTab
from mera.explore.pictures import address_of, squares
from mera.explore.studio import LARGEST_UPLOAD, Studio
from mera.explore.threads import in_thread

__all__ = ["Page"]


class Page:
    """The page of one visitor.

    Args:
        learnt: the flow.
        title: what the page calls it.
        make_cones: makes the page of cones.
        action: the action that the flow learnt; None if it learnt images.

    Attributes:
        studio: the image and its latents.
        mask: the pixels that are painted.
    """

    def __init__(self, learnt: Learnt, title: str, make_cones: Callable[[], str], action: Any = None) -> None:
        self.learnt, self.title, self.make_cones, self.action = learnt, title, make_cones, action
        self.studio = Studio(learnt)
        self.mask = torch.zeros(learnt.flow.plan.input.shape, dtype=torch.bool)
        self._watchers: list[Callable[[], None]] = []
        self._followers: list[Callable[[], None]] = []
        self._painting: bool | None = None

    def build(self) -> None:
        """Make the elements of the page."""
        ui.add_css(STYLE)
        ui.colors(primary=PRIMARY)
        ui.add_head_html(f'<script>document.documentElement.lang = "en";{LABELS}</script>')
        with ui.header():
            ui.label(self.title).classes("text-lg").props('role="heading" aria-level="1"')
        with ui.element("div").classes(
            "flex flex-col flex-nowrap gap-6 w-full md:grid md:grid-cols-[20rem_minmax(0,1fr)]"
        ):
            with ui.column().classes("beside w-80 max-w-full"):
                self._build_picture()
            with ui.column().classes("w-full"):
                self._build_tabs()
        self.changed()

    def shown(self) -> None:
        """Show the current image, and drop what belongs to another one."""
        for watcher in self._watchers:
            watcher()
        self.now.set_source(address_of(self.studio.picture))
        n = self.learnt.flow.plan.input.variables
        self.facts.set_text(f"log p = {self.studio.log_prob() / n:.3f} nats for each variable{self.learnt.note}")

    def changed(self) -> None:
        """Show the current image and the one before, and move the sliders to its latents."""
        self.shown()
        self.before.set_source(address_of(self.studio.before))
        for follower in self._followers:
            follower()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function at each change of the image, those by a slider too.

        Args:
            watcher: the function.
        """
        self._watchers.append(watcher)

    def follow(self, follower: Callable[[], None]) -> None:
        """Call a function at each change of the image that is not by a slider.

        Args:
            follower: the function.
        """
        self._followers.append(follower)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Show errors of what a visitor asked for as messages."""
        try:
            yield
        except Exception as error:  # whatever it is, the page goes on
            ui.notify(str(error) or type(error).__name__, type="negative", multi_line=True)

    async def slowly(self, what: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run work in a thread, so that the page stays alive; None if it failed, which is reported.

        Args:
            what: what the page says meanwhile.
            work: the work.
            arguments: its arguments.

        Raises:
            CancelledError: if the visitor left meanwhile, so that there is nothing to show the result on.
        """
        note = ui.notification(what, spinner=True, timeout=None)
        try:
            with self.reporting():
                return await in_thread(work, *arguments)
        finally:
            if self.now.is_deleted:
                raise asyncio.CancelledError
            note.dismiss()
        return None

    def _build_picture(self) -> None:
        """The image before and now, and the buttons below."""
        with ui.element("div").classes("now"):
            self.now = ui.interactive_image(
                on_mouse=self._paint,
                events=["mousedown", "mousemove", "mouseup", "mouseleave"],
                cross=False,
                sanitize=False,
            )
        self.now.classes("picture w-80 max-w-full cursor-crosshair").props('role="img" aria-label="the image"')
        self.facts = ui.label().classes("text-sm").props('role="status"')
        ui.label("Drag on the image to mark pixels.").classes("text-sm opacity-70")
        with ui.row().classes("gap-2"):
            ui.button("New image", on_click=self._draw)
            ui.button("Undo", on_click=self._undo).props("outline")
            ui.button("Unmark", on_click=self.unmark).props("outline")
        with ui.row().classes("items-center"):
            self.before = (
                ui.interactive_image().classes("picture w-24").props('role="img" aria-label="the image before changes"')
            )
            with ui.column().classes("gap-1"):
                ui.label("before changes").classes("text-sm")
                ui.button("Back to it", on_click=self._reset).props("outline size=sm")
        if self.learnt.is_image:
            self.opener = ui.upload(
                label="or open a picture", auto_upload=True, max_files=None, max_file_size=LARGEST_UPLOAD,
                on_upload=self._upload, on_rejected=self._reject,
            )  # fmt: skip
            self.opener.classes("w-80 max-w-full").props('accept="image/*" aria-label="open a picture"')

    def _build_tabs(self) -> None:
        """The tabs, which are built with the page; what takes long starts on a click."""
        tabs: dict[str, Callable[[], None]] = {
            "Levels": LevelsTab(self).build, "Mix": MixTab(self).build, "Fill": FillTab(self).build,
            "Cones": self._build_cones,
        }  # fmt: skip
        if self.action is not None:
            tabs["Monte Carlo"] = ChainTab(self).build
        with ui.tabs().props('align="left" no-caps') as bar:
            for name in tabs:
                ui.tab(name)
        with ui.tab_panels(bar, value="Levels", animated=False).classes("w-full").props("keep-alive"):
            for name, build in tabs.items():
                with ui.tab_panel(name).classes("p-0 pt-2"):
                    build()

    def _build_cones(self) -> None:
        """The page of cones and pictures of the layout, which are made when they are asked for first."""
        ui.label("Which latents does a pixel depend on, and what can a latent change?")

        async def open_cones() -> None:
            if await self.slowly("computing all cones", self.make_cones) is not None:
                cones.clear()
                with cones:
                    ui.element("iframe").props('src="/cones" title="cones"').classes("w-full h-[40rem] border-0")

        async def open_layout() -> None:
            views = {"side": "from the side", "above": "from above"}
            drawn = [
                await self.slowly("drawing the layout", draw_layout, self.learnt.flow.layout, view) for view in views
            ]
            layout.clear()
            with layout:
                for picture, name in zip(drawn, views.values(), strict=True):
                    if picture is not None:
                        image = ui.image(Image.open(BytesIO(picture._repr_png_()))).classes("w-full max-w-3xl")
                        image.props(f'alt="the layout {name}"')

        with ui.row():
            ui.button("Show the cones", on_click=open_cones)
            ui.button("Draw the layout", on_click=open_layout).props("outline")
        cones, layout = ui.column().classes("w-full"), ui.column().classes("w-full")

    def _paint(self, event: events.MouseEventArguments) -> None:
        """Mark pixels, or unmark them if the first one was marked."""
        rows, columns = self.mask.shape
        row, column = (min(n - 1, max(0, int(place))) for n, place in ((rows, event.image_y), (columns, event.image_x)))
        if event.type == "mousedown":
            self._painting = not bool(self.mask[row, column])
        elif event.type != "mousemove":
            self._painting = None
        if self._painting is not None and bool(self.mask[row, column]) != self._painting:
            self.mask[row, column] = self._painting
            self.marked()

    def marked(self) -> None:
        """Show which pixels are marked."""
        self.now.set_content(squares(self.mask))

    def unmark(self) -> None:
        """Mark no pixel."""
        self.mask[:] = False
        self.marked()

    def _draw(self) -> None:
        with self.reporting():
            self.studio.draw()
            self.changed()

    def _undo(self) -> None:
        with self.reporting():
            if not self.studio.undo():
                ui.notify("There is nothing to undo.")
            self.changed()

    def _reset(self) -> None:
        with self.reporting():
            self.studio.reset()
            self.changed()

    async def _upload(self, event: events.UploadEventArguments) -> None:
        content = await event.file.read()
        with self.reporting():
            self.studio.upload(content)
            self.changed()
        self.opener.reset()

    def _reject(self) -> None:
        ui.notify(f"Expected a picture of at most {LARGEST_UPLOAD // 2**20} MiB; got another file.", type="negative")
