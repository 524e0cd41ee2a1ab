"""State of one visitor of the explorer, which the page and all tabs share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from nicegui import ui

from mera.explore.learnt import Learnt
from mera.explore.studio import Studio
from mera.explore.threads import in_thread


class Visit:
    """The image, the marked pixels, and callbacks for changes.

    Args:
        learnt: the flow.
        action: the action that the flow learnt; None if it learnt images.

    Attributes:
        studio: the image and its latents.
        mask: the marked pixels, bool (H, W).
        has_left: returns whether the visitor has closed the page.
    """

    def __init__(self, learnt: Learnt, action: Any = None) -> None:
        self.learnt, self.action, self.studio = learnt, action, Studio(learnt)
        self.mask = torch.zeros(learnt.flow.plan.input.shape, dtype=torch.bool)
        self.has_left: Callable[[], bool] = lambda: False
        self._watchers: list[Callable[[], None]] = []
        self._followers: list[Callable[[], None]] = []
        self._markers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function after every change of the image, including changes by a slider."""
        self._watchers.append(watcher)

    def follow(self, follower: Callable[[], None]) -> None:
        """Call a function after every change of the image, except changes by a slider."""
        self._followers.append(follower)

    def on_mark(self, marker: Callable[[], None]) -> None:
        """Call a function after pixels are marked or unmarked."""
        self._markers.append(marker)

    def shown(self) -> None:
        """Run the callbacks of `watch`, after a slider has changed the image."""
        for watcher in self._watchers:
            watcher()

    def changed(self) -> None:
        """Run the callbacks of `watch` and `follow`, after the image has changed."""
        self.shown()
        for follower in self._followers:
            follower()

    def marked(self) -> None:
        """Run the callbacks of `on_mark`."""
        for marker in self._markers:
            marker()

    def unmark(self) -> None:
        """Unmark all pixels."""
        self.mask[:] = False
        self.marked()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Show an exception as a notification; the page stays alive."""
        try:
            yield
        except Exception as error:
            ui.notify(str(error) or type(error).__name__, type="negative", multi_line=True)

    async def slowly(self, message: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in a thread, so that the page stays responsive, and return its result.

        Args:
            message: the text that the page shows until the function returns.
            work: the function; if it raises an exception, the page shows it and the result is None.
            arguments: the arguments of the function.

        Raises:
            CancelledError: if the visitor has closed the page.
        """
        note = ui.notification(message, spinner=True, timeout=None)
        try:
            with self.reporting():
                return await in_thread(work, *arguments)
        finally:
            if self.has_left():
                raise asyncio.CancelledError
            note.dismiss()
        return None
