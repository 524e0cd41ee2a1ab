"""Ctrl-C ends a command within two seconds, with a sentence that says what is done; without torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any

import typer

LIMIT = 1.7
"""The seconds that a command has to end by itself, and to write what was found."""
STATUS = 130
"""The exit status of a command that Ctrl-C ended."""
done: list[str] = []
"""The files that the command has written."""
_timers: list[threading.Timer] = []
_said: list[bool] = []


def install() -> None:
    """Handle Ctrl-C from now on, also while modules are imported."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)


def stoppable(run: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that Ctrl-C ends it with a sentence."""

    @wraps(run)
    def command(*arguments: Any, **options: Any) -> None:
        done.clear()
        try:
            run(*arguments, **options)
        except KeyboardInterrupt:
            last_words()
            raise typer.Exit(STATUS) from None
        else:
            _said.append(True)  # the command itself has said what is done
        finally:
            for timer in _timers:
                timer.cancel()

    return command


def last_words() -> None:
    """Say what is done, once, if Ctrl-C has ended the command."""
    if _timers and not _said:
        sentence = f"stopped; done: {', '.join(done)}" if done else "stopped: nothing is written yet"
        print(sentence, file=sys.stderr, flush=True)
        _said.append(True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ask the command to end, and end it when its time is over, or at once if it is asked again."""
    if _timers:
        _end()
    _timers.append(threading.Timer(LIMIT, _end))
    _timers[0].daemon = True
    _timers[0].start()
    raise KeyboardInterrupt


def _end() -> None:
    """End the process, whatever its threads compute."""
    last_words()
    sys.stdout.flush()
    os._exit(STATUS)
