"""Batches for training: objectives, which make them; the order of examples; worker processes that read ahead."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from pickle import PickleError
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mera._utils.errors import InputError
from mera._utils.processes import SIGNALS
from mera._utils.torch_modes import exactly
from mera.flow.density import Density

MAX_LISTED = 2**22
"""The most examples whose order is a stored permutation; a longer list would take too much memory."""
Batch = tuple[Tensor, ...]
"""Tensors whose first axis is the row of the batch."""


class Objective(ABC):
    """The base class of objectives. The training loop is the same for all of them.

    Attributes:
        name: the name of the examples in messages.
        unit: the unit of the loss.
        metric: the suffix of the names of metrics, as in "test_bits".
        optimizer: the name of the default optimiser.
        size: the number of examples; 0 for an objective without examples.
        facts: what is learnt, by name, in values of JSON: a run with other facts cannot be resumed.
        is_of_rows: whether the losses of rows are independent of each other, so that their mean has a standard error.
        contexts: the contexts of samples that are shown in training, (N, ...); None for a flow without context.
    """

    name: str
    unit: str
    metric: str
    optimizer: str = "Muon"
    size: int = 0
    facts: Mapping[str, Any] = MappingProxyType({})
    is_of_rows: bool = True
    contexts: Tensor | None = None

    @property
    def measured(self) -> str:
        """The data of evaluations, in messages."""
        return f"test {self.name}"

    @abstractmethod
    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Rows of the batch of a step, on the CPU, as a function of the seed, the step and the rows alone.

        Args:
            seed: the seed of the run.
            step: the step, from 1 on; 0 for an evaluation, in which row i is the i-th example.
            rows: indices of rows in the batch of all processes.
        """

    @abstractmethod
    def loss(self, flow: Density, batch: Batch) -> Tensor:
        """The loss of each row per variable, (rows,), in the unit of the objective."""

    @abstractmethod
    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The rows as data in the flow's own space and dtype, (rows, C, *shape); and their contexts."""

    @abstractmethod
    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """About `n` rows of data (B, C, *shape), and their contexts, that initialise normalisation layers."""

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        """Further results of an evaluation, by name.

        Args:
            losses: the losses of all rows, (N,).
        """
        return {}

    def not_finite(self, x: Tensor) -> str | None:
        """The name of a quantity that is infinite or NaN for finite data x, (B, C, *shape); None if all are finite."""
        return None

    def verdict(self, flow: Density) -> str:
        """A sentence about the trained flow in addition to its loss; "" for none."""
        return ""

    def pictures(self, flow: Density, samples: Tensor) -> Tensor:
        """Samples on a lattice of pictures as uint8 images (N, 1 or 3, H, W), stretched over their range."""
        from mera.drawing.images import stretch

        return stretch(samples)


def rows_per_step(batch_size: int, n: int, processes: int) -> int:
    """The number of rows of a batch, which processes must share equally: `batch_size`, or fewer for few examples.

    An objective without examples has n = 0, which does not limit the rows.
    """
    rows = min(batch_size, n - n % processes) if n else batch_size
    if rows < 1 or rows % processes:
        raise InputError(f"a batch_size that {processes} processes can share", f"{rows} of {n} examples")
    return rows


class Order:
    """Endless epochs, each in its own random order; an incomplete last batch of an epoch is left out.

    Of more than `MAX_LISTED` examples, each step draws independently, so that examples may recur within an epoch.

    Args:
        batch_size: the number of rows of a step, over all processes.
    """

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self._epoch, self._permutation = -1, torch.empty(0)

    def indices(self, step: int, rows: Sequence[int]) -> list[int]:
        """The index of the example in each of the rows of a step; steps count from 1."""
        is_listed = self.n <= MAX_LISTED
        epoch, batch = divmod(step - 1, self.n // self.batch_size if is_listed else 1)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if not is_listed:
            return torch.randint(self.n, (self.batch_size,), generator=generator)[torch.tensor(rows)].tolist()
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, torch.randperm(self.n, generator=generator)
        return self._permutation[torch.tensor(rows) + batch * self.batch_size].tolist()


def read_batches(objective: Objective, seed: int, rows: range, start: int = 0, workers: int = 0) -> Iterator[Batch]:
    """Read endless batches, one for each step of a run."""
    loader: DataLoader[Batch] = DataLoader(
        _Steps(objective, seed, rows),
        sampler=count(start + 1),  # an iterable is enough
        batch_size=None,  # an item of the data set is a batch
        num_workers=workers,
        worker_init_fn=_ignore_stop_signals,
        generator=torch.Generator(),  # else the loader would draw from the random state that a run restores
    )
    try:
        return map(tuple, loader)  # the loader makes lists of tuples
    except (AttributeError, TypeError, PickleError) as error:  # where worker processes are not forks of this one
        expected = "data and a loss that worker processes can import; workers=0 reads in this process"
        raise InputError(expected, str(error)[:200]) from error


class _Steps(Dataset):
    """A data set whose items are the batches, with the step as index."""

    def __init__(self, objective: Objective, seed: int, rows: range) -> None:
        self.objective, self.seed, self.rows = objective, seed, rows

    def __getitem__(self, step: int) -> Batch:
        return self.objective.batch(self.seed, step, self.rows)


def _ignore_stop_signals(worker: int) -> None:
    """Ignore signals to stop in a worker process: the run finishes its step, then ends the workers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class BatchLoss(nn.Module):
    """The sum of the losses of a batch as a module, which torch wraps if several processes train together."""

    def __init__(self, flow: Density, objective: Objective, precision: str) -> None:
        super().__init__()
        self.flow, self.objective, self.precision = flow, objective, precision

    def forward(self, *batch: Tensor) -> Tensor:
        """The sum of the losses of all rows, a scalar."""
        with autocast(batch[0].device, self.precision):
            return self.objective.loss(self.flow, batch).sum()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """A context in which networks run in bfloat16 if `precision` is "bfloat16"; see `Settings`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else exactly(device)
