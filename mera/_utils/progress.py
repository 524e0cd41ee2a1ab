"""Progress of long work: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mera._utils.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY, REDRAW_EVERY = 10.0, 0.2
"""Seconds between plain lines, and between states of a bar."""
WIDTH, BLOCKS = 24, "▏▎▍▌▋▊▉█"
"""The width of a bar, and the characters for eighths of one column."""

Listener = Callable[[float, str], None]
"""A function of the fraction of the work that is done, 0 to 1, and of a text with the rate and the time left."""
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a function at each update of each progress bar within the context, also of silent bars.

    An exception that the function raises ends the work.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def check_console(console: object, quiet: bool = False) -> Console:
    """Return the console on which progress is shown, or a silent one, and refuse what is not a console.

    For None, progress is shown on terminals and in notebooks only. rich is imported here and not with the package,
    which starts faster without rich.
    """
    from rich.console import Console

    if console is None or quiet:
        usual = Console()
        return Console(quiet=True) if quiet or not (usual.is_terminal or usual.is_jupyter) else usual
    if not isinstance(console, Console):
        raise InputError("a rich.console.Console to show progress on", repr(console))
    return console


class ProgressBar:
    """A progress bar with the rate of the work and the time left; plain lines without a terminal.

    In a notebook the bar changes in place, so that a saved notebook keeps only the last state; the bars of rich need
    ipywidgets there. The rate counts from the first update, since the first unit of work takes longer, or from the
    start if all is done by then. With `at_once`, the bar is shown before any work is done.
    """

    def __init__(self, title: str, console: Console, unit: str = "step", at_once: bool = False) -> None:
        self.title, self._unit, self._console = title, unit, console
        self._is_drawn = console.is_terminal or console.is_jupyter
        is_cell, self._is_line = console.is_jupyter, console.is_terminal and not (console.is_jupyter or console.quiet)
        self._show = _Cell() if is_cell and not console.quiet else self._rewrite if self._is_line else self._print
        self._blocks = "#" if console.options.ascii_only else BLOCKS
        self._first: tuple[int, float] | None = None  # the units of work and the time of the first update
        self._began, self._shown_at, self._line, self._last = time.monotonic(), 0.0, "", ""
        if at_once and not console.quiet:
            self._show(f"{title}   0%  {unit} 0")

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._line:
            self._show(self._line)
            self._console.file.write("\n" if self._is_line else "")

    def update(self, done: int, fraction: float, note: str = "") -> None:
        """Show the units of work that are done, their fraction of all work (0 to 1), and a note behind the numbers."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._shown_at = (done, now), now
        if fraction >= 1 and done == self._first[0]:  # nothing has been done since the first update
            self._first = 0, self._began
        times = self._times(done, fraction, done - self._first[0], now - self._first[1])
        numbers = f"{self._unit} {done}{f', {note}' if note else ''}{times}"
        whole, part = divmod(round(fraction * WIDTH * len(self._blocks)), len(self._blocks))
        bar = (self._blocks[-1] * whole + self._blocks[part - 1 : part]).ljust(WIDTH)
        self._line = f"{self.title} {100 * fraction:3.0f}%{f'|{bar}|' if self._is_drawn else ' '} {numbers}"
        if now - self._shown_at >= (REDRAW_EVERY if self._is_drawn else LINE_EVERY):
            self._shown_at = now
            self._show(self._line)
        if (listener := _listener.get()) is not None:
            listener(fraction, numbers)

    def _times(self, done: int, fraction: float, new: int, seconds: float) -> str:
        """The rate of the work, and the time left, once they are known: " [12.50step/s, 01:40 left]"."""
        if not (new > 0 and seconds > 0 and fraction > 0):
            return ""
        rate = new / seconds
        minutes, second = divmod(int(done * (1 / fraction - 1) / rate), 60)
        hour, minute = divmod(minutes, 60)
        pace = f"{rate:5.2f}{self._unit}/s" if rate >= 1 else f"{1 / rate:5.2f}s/{self._unit}"
        return f" [{pace}, {f'{hour}:' if hour else ''}{minute:02d}:{second:02d} left]"

    def _print(self, line: str) -> None:
        """Print a state of the bar, unless it differs from the one before in its times alone."""
        if line.partition(" [")[0] != self._last:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)
            self._last = line.partition(" [")[0]

    def _rewrite(self, line: str) -> None:
        """Write a state of the bar over the one before, in one line of a terminal."""
        line = line[: self._console.width - 1]
        self._console.file.write(f"\r{line.ljust(len(self._last))}")
        self._console.file.flush()
        self._last = line


class _Cell:
    """The output of a notebook's cell, which shows each state of a bar in place of the one before."""

    handle: Any = None

    def __call__(self, line: str) -> None:
        """Show a state of the bar."""
        from IPython.display import display

        if self.handle is None:
            self.handle = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self.handle.update({"text/plain": line}, raw=True)
