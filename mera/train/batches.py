"""Batches for training, which worker processes may read ahead."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count

import torch
from torch.utils.data import DataLoader, Dataset

from mera._utils.signals import SIGNALS
from mera.train.objective import Batch, Objective


class BatchLoader:
    """Endless batches, one for each step of a run.

    Args:
        rows: the rows of each batch that this process reads.
        start: steps that are already taken.
        workers: the number of processes that read batches ahead; 0 to read in this process.
    """

    def __init__(self, objective: Objective, seed: int, rows: range, start: int = 0, workers: int = 0) -> None:
        self._loader = DataLoader(
            _Steps(objective, seed, rows),
            sampler=_From(start + 1),
            batch_size=None,  # an item of the data set is a batch
            num_workers=workers,
            worker_init_fn=_ignore_stop_signals,
            generator=torch.Generator(),  # else the loader would draw from the random state that a run restores
        )

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches, without end."""
        for batch in self._loader:
            yield tuple(batch)  # the loader makes lists of tuples


class _Steps(Dataset):
    """A data set whose items are the batches, with the step as index."""

    def __init__(self, objective: Objective, seed: int, rows: range) -> None:
        self.objective, self.seed, self.rows = objective, seed, rows

    def __getitem__(self, step: int) -> Batch:
        return self.objective.batch(self.seed, step, self.rows)


class _From:
    """A sampler of the integers start, start + 1, ..., which starts again at each iteration."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return count(self.start)


def micro_batches(batch: Batch, n: int) -> list[Batch]:
    """Split a batch into `n` parts, or fewer if it has fewer rows; tensors may differ in their numbers of rows."""
    parts = list(zip(*(tensor.tensor_split(n) for tensor in batch), strict=True))
    return [part for part in parts if any(len(tensor) for tensor in part)]


def _ignore_stop_signals(worker: int) -> None:
    """Ignore signals to stop in a worker process: the run finishes its step, then ends the workers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
