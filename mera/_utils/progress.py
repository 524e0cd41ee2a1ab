"""Progress of long work: tqdm's bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOBase
from typing import TYPE_CHECKING, Any

from mera._utils.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY = 10.0
"""Seconds between plain lines."""
NUMBERS = "{unit} {n_fmt}{postfix} [{rate_fmt}, {remaining} left]"
BAR = "{desc} {percentage:3.0f}%|{bar:24}| " + NUMBERS
LINE = "{desc} {percentage:3.0f}%  " + NUMBERS

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

    In a notebook the bar changes in place, so that a saved notebook keeps only the last state. The rate counts from the
    first update, since the first unit of work takes longer, or from the start if all is done by then. With `at_once`,
    the bar is shown before any work is done.
    """

    def __init__(self, title: str, console: Console, unit: str = "step", at_once: bool = False) -> None:
        from tqdm.std import tqdm

        is_drawn, in_cell = console.is_terminal or console.is_jupyter, console.is_jupyter and not console.quiet
        lines: TextIOBase = _Cell() if in_cell else _Lines(console)
        self.bar: Any = tqdm(
            desc=title, unit=unit, smoothing=0, bar_format=BAR if is_drawn else LINE,
            file=console.file if console.is_terminal and not console.is_jupyter and not console.quiet else lines,
            mininterval=0.2 if is_drawn else LINE_EVERY, delay=1e-9,
        )  # fmt: skip
        self.began = self.bar.start_t
        self.bar.delay, self.is_started = 0, False  # only the first picture, of no work yet, is left out
        if at_once and not console.quiet:
            self.bar.refresh()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def update(self, done: int, fraction: float, note: str = "") -> None:
        """Show the units of work that are done, their fraction of all work (0 to 1), and a note behind the numbers."""
        if not self.is_started:
            self.is_started = True
            self.bar.unpause()
            self.bar.initial, self.bar.start_t = done, self.bar.last_print_t
        if fraction >= 1 and done == self.bar.initial:  # nothing has been done since the first update
            self.bar.initial, self.bar.start_t = 0, self.began
        self.bar.n, self.bar.total = done, done / fraction if fraction > 0 else None
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(0)
        if (listener := _listener.get()) is not None:
            listener(fraction, self.bar.format_meter(**{**self.bar.format_dict, "bar_format": NUMBERS}))


class _Cell(TextIOBase):
    """The file of tqdm that shows each state of a bar in a notebook's cell, in place of the state before."""

    handle: Any = None

    def write(self, text: str) -> int:
        """Show a state of the bar."""
        from IPython.display import display

        if line := text.strip("\r\n "):
            if self.handle is None:
                self.handle = display({"text/plain": line}, raw=True, display_id=True)
            else:
                self.handle.update({"text/plain": line}, raw=True)
        return len(text)


class _Lines(TextIOBase):
    """The file of tqdm that writes each state of a bar to a console as a line of its own."""

    def __init__(self, console: Console) -> None:
        self.console, self.last = console, ""

    def write(self, text: str) -> int:
        """Write a state of the bar, unless it differs from the one before in its times alone."""
        line = text.strip("\r\n ")
        if line and line.partition(" [")[0] != self.last:
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)
            self.last = line.partition(" [")[0]
        return len(text)
