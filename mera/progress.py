"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["Ticker"]

LINE_EVERY = 10.0
"""Seconds between plain lines."""


class Ticker:
    """Counts work off, with its rate and the time left.

    Args:
        title: what is being done.
        total: units of work.
        console: where to show it.
        unit: the name of a unit.
    """

    def __init__(self, title: str, total: int, console: Console, unit: str = "step") -> None:
        self.title, self.total, self.console, self.unit = title, total, console, unit
        self.start = self.last_line = time.monotonic()
        self.done = self.first = 0
        self.bar = None
        if console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(), console=console,
            )  # fmt: skip
            self.task = self.bar.add_task(title, total=total, note="")

    def __enter__(self) -> Ticker:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin_at(self, done: int) -> None:
        """Work that was done before does not count in the rate."""
        self.done = self.first = done

    def update(self, done: int, note: str = "", left: float | None = None) -> None:
        """Show that `done` units are done.

        Args:
            done: units so far.
            note: what else there is to say.
            left: seconds left, if the caller knows better than the rate says.
        """
        self.done = done
        now = time.monotonic()
        rate = (done - self.first) / max(now - self.start, 1e-9)
        remaining = (self.total - done) / max(rate, 1e-9)
        remaining = remaining if left is None else min(remaining, left)
        text = f"{note}  {rate:.1f} {self.unit}s/s  {_clock(remaining)} left"
        if self.bar is not None:
            self.bar.update(self.task, completed=done, note=text)
        elif now - self.last_line >= LINE_EVERY or done == self.total:
            self.last_line = now
            self.console.print(f"{self.title}  {done}/{self.total}  {text}", highlight=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}:{seconds:02d}"
