"""State of one visitor of the explorer, which the page and all tabs share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any

import torch
from nicegui import ui

from mera._utils.errors import with_notes
from mera._utils.progress import listening
from mera.explore.studio import Learnt, Studio


class Stopped(Exception):
    """The visitor has stopped a computation."""


class Visit:
    """The image, the marked pixels, and callbacks for changes.

    Attributes:
        studio: the image and its latents.
        mask: the marked pixels, bool (H, W).
        has_left: returns whether the visitor has closed the page.
        marked: called after pixels are marked or unmarked.
        watchers: called after every change of the image, including changes by a slider.
        followers: called after every change of the image, except changes by a slider.
    """

    def __init__(self, learnt: Learnt) -> None:
        self.learnt, self.studio = learnt, Studio(learnt)
        self.mask = torch.zeros(learnt.flow.plan.input.shape, dtype=torch.bool)
        self.has_left: Callable[[], bool] = lambda: False
        self.marked: Callable[[], object] = lambda: None
        self.watchers: list[Callable[[], object]] = []
        self.followers: list[Callable[[], object]] = []

    def shown(self) -> None:
        """Call the watchers, after a slider has changed the image."""
        for watcher in self.watchers:
            watcher()

    def changed(self) -> None:
        """Call the watchers and the followers, after the image has changed."""
        self.shown()
        for follower in self.followers:
            follower()

    def change(self, act: Callable[..., object], *arguments: Any) -> None:
        """Call a function that changes the image, and show the change; an error becomes a notification."""
        with self.reporting():
            act(*arguments)
            self.changed()

    def unmark(self) -> None:
        """Unmark all pixels."""
        self.mask[:] = False
        self.marked()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Show an exception as a notification; the page stays alive."""
        try:
            yield
        except Stopped:
            ui.notify("Stopped.")
        except Exception as error:
            ui.notify(with_notes(error) or type(error).__name__, type="negative", multi_line=True)

    async def slowly(self, message: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in a thread, so that the page stays responsive, and return its result; None if it fails.

        The page shows how much is done and the time left, if the function shows its progress. A button stops it: the
        page goes on at once, and the thread ends where it shows progress next. If the visitor has closed the page, a
        CancelledError is raised.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # from now on a visitor who leaves cannot cancel it
        progress = "0%"

        def finish(result: Any, error: Exception | None = None) -> None:
            with suppress(InvalidStateError):  # it was stopped before
                future.set_result(result) if error is None else future.set_exception(error)

        def listen(fraction: float, text: str) -> None:
            nonlocal progress
            progress = f"{fraction:.0%}  {text}"
            if future.done() or self.has_left():
                raise Stopped

        def run() -> None:
            try:
                with listening(listen):
                    finish(work(*arguments))
            except Exception as error:
                finish(None, error)

        note = ui.notification(
            f"{message}: {progress}", spinner=True, timeout=None, close_button="Stop",
            on_dismiss=lambda: finish(None, Stopped()),
        )  # fmt: skip
        timer = ui.timer(0.5, lambda: setattr(note, "message", f"{message}: {progress}"))
        try:
            with self.reporting():
                threading.Thread(target=run, daemon=True).start()  # a daemon does not delay the exit of the process
                return await asyncio.wrap_future(future)
        finally:
            if self.has_left():
                raise asyncio.CancelledError
            timer.cancel()
            note.dismiss()
        return None
