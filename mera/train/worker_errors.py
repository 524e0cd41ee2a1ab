"""Errors of a data set, carried from a process that reads images to the process that trains.

torch's own way raises an error of the same type whose message is the whole traceback of the other process. Here the
message stays the data set's own, and the traceback becomes the cause of the error.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import NoReturn


class WorkerTraceback(Exception):
    """The traceback of an error in a process that reads images, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class ReadFailure:
    """An error that a process sends in the place of a batch.

    Args:
        error: the error.
        trace: the text of its traceback.
    """

    error: Exception
    trace: str

    @classmethod
    def of(cls, error: Exception) -> ReadFailure:
        """The failure for an error that was just caught; one that cannot be pickled becomes a `RuntimeError`.

        Args:
            error: the error.
        """
        trace = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # whatever a class of errors does when it is pickled
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error, trace)

    def raise_error(self) -> NoReturn:
        """Raise the error in this process."""
        raise self.error from WorkerTraceback(self.trace)
