"""Progress of long work: tqdm's bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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

    The rate counts from the first update, since the first unit of work takes longer.
    """

    def __init__(self, title: str, console: Console, unit: str = "step") -> None:
        from tqdm.auto import tqdm as on_screen
        from tqdm.std import tqdm

        is_drawn = not console.quiet and (console.is_terminal or console.is_jupyter)
        self.bar: Any = (on_screen if is_drawn else tqdm)(
            desc=title, unit=unit, smoothing=0, bar_format=BAR if is_drawn else LINE,
            file=console.file if is_drawn else _Lines(None if console.quiet else console.file),
            mininterval=0.2 if is_drawn else LINE_EVERY, delay=1e-9,
        )  # fmt: skip
        self.bar.delay, self.is_started = 0, False  # only the first picture, of no work yet, is left out

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def update(self, done: int, fraction: float, note: str = "") -> None:
        """Show the units of work that are done, their fraction of all work (0 to 1), and a note beside the numbers."""
        if not self.is_started:
            self.is_started = True
            self.bar.unpause()
            self.bar.initial, self.bar.start_t = done, self.bar.last_print_t
        self.bar.n, self.bar.total = done, done / fraction if fraction > 0 else None
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(0)
        if (listener := _listener.get()) is not None:
            listener(fraction, self.bar.format_meter(**{**self.bar.format_dict, "bar_format": NUMBERS}))


class _Lines:
    """A file that keeps each state of a bar as a line of its own; None for no file."""

    def __init__(self, file: Any) -> None:
        self.file, self.last = file, ""

    def write(self, text: str) -> None:
        """Write a state of the bar, unless it differs from the one before in its times alone."""
        line = text.strip("\r\n ")
        if self.file is not None and line and line.partition(" [")[0] != self.last:
            self.file.write(line + "\n")
            self.last = line.partition(" [")[0]

    def flush(self) -> None:
        """Flush the file."""
        if self.file is not None:
            self.file.flush()
