"""Errors of a data set, sent from a worker process to the process that trains.

torch itself raises an error of the same type whose message is the whole traceback of the worker. Here the message of
the data set is kept, and the traceback becomes the cause of the error.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import NoReturn


class WorkerTraceback(Exception):
    """The traceback of an error in a worker process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class ReadFailure:
    """An error and its traceback, which a worker process sends in place of a batch."""

    error: Exception
    trace: str

    @classmethod
    def of(cls, error: Exception) -> ReadFailure:
        """Wrap an error that was just caught; an error that cannot be pickled becomes a `RuntimeError`."""
        trace = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # pickling may raise any error
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error, trace)

    def raise_error(self) -> NoReturn:
        """Raise the error in this process."""
        raise self.error from WorkerTraceback(self.trace)
