"""The state of one visitor of the explorer, which the picture and all tabs share."""

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
    """The image, the marked pixels, and the functions that follow their changes.

    Args:
        learnt: the flow.
        action: the action that the flow learnt; None if it learnt images.

    Attributes:
        studio: the image and its latents.
        mask: the pixels that are marked.
        has_left: returns whether the visitor has left, so that there is nothing to show a result on.
    """

    def __init__(self, learnt: Learnt, action: Any = None) -> None:
        self.learnt, self.action, self.studio = learnt, action, Studio(learnt)
        self.mask = torch.zeros(learnt.flow.plan.input.shape, dtype=torch.bool)
        self.has_left: Callable[[], bool] = lambda: False
        self._watchers: list[Callable[[], None]] = []
        self._followers: list[Callable[[], None]] = []
        self._markers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function at each change of the image, those by a slider too."""
        self._watchers.append(watcher)

    def follow(self, follower: Callable[[], None]) -> None:
        """Call a function at each change of the image that is not by a slider."""
        self._followers.append(follower)

    def on_mark(self, marker: Callable[[], None]) -> None:
        """Call a function when pixels are marked or unmarked."""
        self._markers.append(marker)

    def shown(self) -> None:
        """Tell that a slider has changed the image."""
        for watcher in self._watchers:
            watcher()

    def changed(self) -> None:
        """Tell that the image has changed."""
        self.shown()
        for follower in self._followers:
            follower()

    def marked(self) -> None:
        """Tell that other pixels are marked."""
        for marker in self._markers:
            marker()

    def unmark(self) -> None:
        """Mark no pixel."""
        self.mask[:] = False
        self.marked()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Show an exception as a notification; the page stays alive."""
        try:
            yield
        except Exception as error:
            ui.notify(str(error) or type(error).__name__, type="negative", multi_line=True)

    async def slowly(self, what: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run work in a thread, so that the page stays alive; None if it failed, which is reported.

        Args:
            what: the text that the page shows meanwhile.
            work: the work.
            arguments: its arguments.

        Raises:
            CancelledError: if the visitor left meanwhile.
        """
        note = ui.notification(what, spinner=True, timeout=None)
        try:
            with self.reporting():
                return await in_thread(work, *arguments)
        finally:
            if self.has_left():
                raise asyncio.CancelledError
            note.dismiss()
        return None
