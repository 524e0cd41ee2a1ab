"""The number of this process among those that train together; and requests to stop: SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def is_main() -> bool:
    """Return whether this process is the first of the processes that were started together; it writes all files."""
    return rank() == 0


def rank() -> int:
    """The number of this process among those that were started together, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes that were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class StopSignal:
    """A context in which a signal sets `number`; a second SIGINT has the effect that it had before the context.

    A second SIGTERM has no effect, since launchers that forward signals may send one request to stop twice. Outside the
    main thread, where no signals arrive, `number` stays 0.

    Attributes:
        number: the number of the signal that arrived; 0 if none did.
    """

    number = 0

    def __enter__(self) -> StopSignal:
        self.previous_handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self.previous_handlers = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.number = number
        if number == signal.SIGINT:
            signal.signal(number, self.previous_handlers[number])


def raise_signal(number: int) -> NoReturn:
    """Raise what Python raises for SIGINT, `KeyboardInterrupt`; or `SystemExit` with the usual status for SIGTERM."""
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
