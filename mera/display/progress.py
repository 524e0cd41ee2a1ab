"""Progress of long work: a bar on a terminal, a line that changes in a notebook, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mera._utils.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY = 10.0
"""Seconds between plain lines."""
CHANGE_EVERY = 0.2
"""Seconds between changes of the line in a notebook."""
BAR_WIDTH = 30
"""The width of the bar in a notebook, in characters."""

Listener = Callable[[float, str], None]
"""A function of the fraction of the work that is done, 0 to 1, and of a text with the rate and the time left."""
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a function at each update of each progress bar within the context, also of silent bars.

    An exception that the function raises ends the work.

    Args:
        listener: the function.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def check_console(console: object) -> Console:
    """Return the console on which progress is shown, a silent console for None, and refuse any other value.

    rich is imported here and not with the package, which starts faster without rich.
    """
    from rich.console import Console

    if console is None:
        return Console(quiet=True)
    if not isinstance(console, Console):
        raise InputError("a rich.console.Console to show progress on", repr(console))
    return console


class ProgressBar:
    """A progress bar with the rate of the work and the time left; plain lines without a terminal.

    In a notebook the bar is a line of text that changes in place, so that a saved notebook keeps only the last state.

    Args:
        fraction: the fraction of the work that is done before the bar starts, 0 to 1.
    """

    def __init__(self, title: str, console: Console, unit: str = "step", fraction: float = 0.0) -> None:
        self.title, self.console, self.unit = title, console, unit
        self.start = self.last_line = time.monotonic()
        self.first: tuple[float, int, float] | None = None  # time, units and fraction of the first update
        self.bar: Any = None
        self.cell = Cell() if console.is_jupyter and not console.quiet else None
        if console.is_terminal and self.cell is None:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = TextColumn(title), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}")
            self.bar = Progress(*columns, console=console)
            self.task = self.bar.add_task("", total=1.0)
            self.bar.update(self.task, completed=fraction)

    def __enter__(self) -> ProgressBar:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, done: int, fraction: float, note: str = "") -> None:
        """Show the units of work that are done, their fraction of all work (0 to 1), and a note beside the numbers."""
        now = time.monotonic()
        is_over = fraction >= 1
        duration = f"in {_clock(now - self.start)}" if is_over else self._estimate(now, done, fraction)
        text = "  ".join(part for part in (f"{self.unit} {done}", note, duration) if part)
        if (listener := _listener.get()) is not None:
            listener(fraction, text)
        if self.bar is not None:
            self.bar.update(self.task, completed=fraction, description=text)
        elif self.cell is not None and (now - self.last_line >= CHANGE_EVERY or is_over or self.cell.handle is None):
            self.last_line = now
            full = round(BAR_WIDTH * fraction)
            self.cell.show(
                {"text/plain": f"{self.title} {'█' * full}{'░' * (BAR_WIDTH - full)} {fraction:4.0%}  {text}"}
            )
        elif self.cell is None and (now - self.last_line >= LINE_EVERY or is_over):
            self.last_line = now
            self.console.print(f"{self.title} {fraction:4.0%}  {text}", highlight=False, soft_wrap=True)

    def _estimate(self, now: float, done: int, fraction: float) -> str:
        """The rate and the time left, measured from the first update, since the first unit of work takes longer."""
        if self.first is None:
            self.first = now, done, fraction
        start, units, share = self.first
        if done == units or fraction <= share:
            return ""
        elapsed = max(now - start, 1e-9)
        rate = (done - units) / elapsed
        left = (1 - fraction) / (fraction - share) * elapsed
        pace = f"{rate:.1f} {self.unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s/{self.unit}"
        return f"{pace}  {_clock(left)} left"


class Cell:
    """A line of text or a picture in the output of a notebook's cell, which changes in place.

    Attributes:
        handle: of IPython, for what is shown; None as long as nothing has been shown.
    """

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, content: dict[str, Any]) -> None:
        """Show content by its types, such as {"text/plain": text}, which replaces the content before."""
        from IPython.display import display

        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def _clock(seconds: float) -> str:
    """A time as minutes:seconds, or, from one hour on, as hours and minutes."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}:{seconds:02d}"
