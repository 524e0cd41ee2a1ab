"""Ctrl-C ends a command within two seconds, with a sentence that says what is done; without torch."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import FrameType
from typing import Any

import typer

LIMIT = 1.3
"""The seconds that a command has to end by itself, and to write what was found."""
STATUS = 130
"""The exit status of a command that Ctrl-C ended."""
done: list[str] = []
"""The files that the command has written."""
_asked, _over = threading.Event(), threading.Event()
"""Whether Ctrl-C came, and whether the command has ended by itself."""
_said: list[bool] = []


def install() -> None:
    """Handle Ctrl-C from now on, also while modules are imported.

    Python runs a handler only between two operations of the main thread, and an operation of torch may take long. So a
    thread counts the seconds, and the system tells it of the signal.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
        ours, of_system = socket.socketpair()
        of_system.setblocking(False)
        signal.set_wakeup_fd(of_system.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(ours, of_system), daemon=True).start()


def stoppable(run: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that Ctrl-C ends it with a sentence."""

    @wraps(run)
    def command(*arguments: Any, **options: Any) -> None:
        done.clear()
        _over.clear()
        try:
            run(*arguments, **options)
        except KeyboardInterrupt:
            _asked.set()
            _say()
            raise typer.Exit(STATUS) from None
        _over.set()
        _said.append(True)  # the command itself has said what is done

    return command


def last_words() -> None:
    """End the process if Ctrl-C came: Python alone would take its time to free everything."""
    if _asked.is_set():
        _end(0 if _over.is_set() else STATUS)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ask the command to end."""
    _asked.set()
    raise KeyboardInterrupt


def _watch(signals: socket.socket, writer: socket.socket) -> None:
    """End the process when its time after Ctrl-C is over, or at once if Ctrl-C comes again; `writer` stays open."""
    while signals.recv(1)[0] != signal.SIGINT:
        pass
    _asked.set()
    signals.settimeout(LIMIT)
    with suppress(TimeoutError):
        signals.recv(1)
    if not _over.is_set():
        _end()


def _end(status: int = STATUS) -> None:
    """End the process, whatever its threads compute."""
    _say()
    sys.stdout.flush()
    os._exit(status)


def _say() -> None:
    """Say what is done, once, unless the command itself has said it."""
    if not _said:
        print(
            f"stopped; done: {', '.join(done)}" if done else "stopped: nothing is written yet",
            file=sys.stderr,
            flush=True,
        )
        _said.append(True)
