"""Batches for training, read ahead by other processes if asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mera.train.objective import Batch, Objective
from mera.train.signals import SIGNALS
from mera.train.worker_errors import ReadFailure


class BatchLoader:
    """The batches of the steps of a run, without end.

    Args:
        objective: makes the batches.
        seed: the seed of the run.
        rows: the rows of each batch that this process reads.
        start: steps that were taken before.
        workers: processes that read batches ahead; 0 to read in this process.
    """

    def __init__(self, objective: Objective, seed: int, rows: range, start: int = 0, workers: int = 0) -> None:
        self._loader = DataLoader(
            _Steps(objective, seed, rows),
            sampler=_From(start + 1),
            batch_size=None,  # an item of the data set is a batch
            collate_fn=_unchanged,
            num_workers=workers,
            worker_init_fn=_ignore_stop_signals,
            generator=torch.Generator(),  # else the loader would draw from the random state that a run restores
        )

    def __iter__(self) -> Iterator[Batch]:
        """The batches, without end.

        Raises:
            Exception: the data set's own error, if an example could not be read.
        """
        for batch in self._loader:
            if isinstance(batch, ReadFailure):
                batch.raise_error()
            yield batch


class _Steps(Dataset):
    """The batch of each step."""

    def __init__(self, objective: Objective, seed: int, rows: range) -> None:
        self.objective, self.seed, self.rows = objective, seed, rows

    def __getitem__(self, step: int) -> Batch | ReadFailure:
        try:
            return self.objective.batch(self.seed, step, self.rows)
        except Exception as error:
            if get_worker_info() is None:  # in the process that trains there is nothing to send
                raise
            return ReadFailure.of(error)


class _From:
    """All integers from a first one on, again from the first one each time."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return count(self.start)


def micro_batches(batch: Batch, n: int) -> list[Batch]:
    """The parts of a batch that are run one after the other to save memory.

    Args:
        batch: tensors whose first axis are rows; their numbers of rows may differ.
        n: the number of parts; fewer if the batch has fewer rows.
    """
    parts = list(zip(*(tensor.tensor_split(n) for tensor in batch), strict=True))
    return [part for part in parts if any(len(tensor) for tensor in part)]


def _unchanged(batch: Any) -> Any:
    """The batch itself: it is complete already."""
    return batch


def _ignore_stop_signals(worker: int) -> None:
    """Ignore signals to stop in a process that reads images: the run finishes its step, then ends this process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
