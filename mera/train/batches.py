"""Which images come in which step, and their noise: pure functions of seed, step and row in the batch.

A resumed run therefore reads the same batches as a run that was never interrupted, and so do several processes that
share the batches, whatever their number.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from mera._utils.errors import InputError
from mera.data import Examples, class_numbers, labels
from mera.density import Density
from mera.train.kinds import Key, Kind
from mera.train.signals import SIGNALS
from mera.train.worker_errors import ReadFailure

__all__ = [
    "Batch",
    "BatchLoader",
    "NoisyBatches",
    "OrderedBatchSampler",
    "ShuffledBatchSampler",
    "example_contexts",
    "micro_batches",
]

Batch = tuple[Tensor, ...]
"""Images (B, C, L, L), noise of the same shape, and for a conditional flow the context of each image."""
MAX_LISTED = 2**22
"""The most examples whose order is a random permutation; the list of more would take too much memory."""


class ShuffledBatchSampler(Sampler[list[Key]]):
    """Keys of shuffled batches without end, each epoch in its own order.

    The last batch of an epoch is left out if it is smaller.

    Args:
        n: images in the data set.
        batch_size: images in a batch, over all processes.
        seed: seed of the orders.
        start: steps that were taken before.
        rank: the index of this process, which reads one part of each batch.
        world_size: the number of processes that share a batch.

    Raises:
        ValueError: if a batch does not divide into parts of one size.
    """

    def __init__(self, n: int, batch_size: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise InputError(f"a batch_size that {world_size} processes can share", f"{batch_size} of {n} images")
        self.n, self.batch_size, self.seed, self.start = n, batch_size, seed, start
        per_process = batch_size // world_size
        self.rows = range(rank * per_process, (rank + 1) * per_process)

    def __iter__(self) -> Iterator[list[Key]]:
        batches_per_epoch = self.n // self.batch_size
        step = self.start
        while True:
            epoch, first_batch = divmod(step, batches_per_epoch)
            order = _order(self.n, self.seed * 1_000_003 + epoch)
            for batch in range(first_batch, batches_per_epoch):
                step += 1
                yield [(step, row, order[batch * self.batch_size + row]) for row in self.rows]


class OrderedBatchSampler(ShuffledBatchSampler):
    """Keys of batches in the order of the examples, for streams, which can only be read forwards."""

    def __iter__(self) -> Iterator[list[Key]]:
        for step in count(self.start):
            yield [(step + 1, row, step * self.batch_size + row) for row in self.rows]


def _order(n: int, seed: int) -> Sequence[int]:
    """All indices below n in an order that a seed determines.

    Args:
        n: the number of indices.
        seed: the seed.
    """
    generator = torch.Generator().manual_seed(seed)
    if n <= MAX_LISTED:
        return torch.randperm(n, generator=generator).tolist()
    start, stride = (int(torch.randint(n, (), generator=generator)) for _ in range(2))
    while math.gcd(stride, n) != 1:
        stride += 1
    return _Strided(n, start, stride)


class _Strided(Sequence[int]):
    """The order start, start + stride, start + 2 stride, ... modulo n, for more indices than a list should hold."""

    def __init__(self, n: int, start: int, stride: int) -> None:
        self.n, self.start, self.stride = n, start, stride

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Any) -> Any:
        return (self.start + index * self.stride) % self.n


class NoisyBatches(Dataset):
    """Whole batches by their keys: images, the noise that dequantises them, and contexts.

    Args:
        images: the data set. What it draws at random, to flip images say, is as repeatable as the noise.
        kind: the kind of its examples.
        seed: seed of the noise.
        contexts: the context of each image, (N, ...), or None.
    """

    def __init__(self, images: Examples, kind: Kind, seed: int, contexts: Tensor | None = None) -> None:
        self.images, self.kind, self.seed, self.contexts = images, kind, seed, contexts

    def __getitem__(self, keys: list[Key]) -> Batch | ReadFailure:
        try:
            images, noise = self.kind.read(self.images, keys, self.seed)
        except Exception as error:
            if get_worker_info() is None:  # in the process that trains there is nothing to send
                raise
            return ReadFailure.of(error)
        if self.contexts is None:
            return images, noise
        return images, noise, self.contexts[[index for _, _, index in keys]]


class BatchLoader:
    """Batches for training, read ahead by other processes if asked for.

    Args:
        images: the data set.
        kind: the kind of its examples.
        sampler: the keys of the batches.
        workers: processes that read images ahead; 0 to read in this process.
        contexts: the context of each image, (N, ...), or None.
    """

    def __init__(
        self,
        images: Examples,
        kind: Kind,
        sampler: ShuffledBatchSampler,
        workers: int,
        contexts: Tensor | None = None,
    ) -> None:
        self._loader = DataLoader(
            NoisyBatches(images, kind, sampler.seed, contexts),
            sampler=sampler,
            batch_size=None,  # an item of the data set is a batch
            collate_fn=_unchanged,
            num_workers=workers,
            worker_init_fn=_ignore_stop_signals,
            generator=torch.Generator(),  # else the loader would draw from the random state that a run restores
        )

    def __iter__(self) -> Iterator[Batch]:
        """The batches, without end.

        Raises:
            Exception: the data set's own error, if an image could not be read.
        """
        for batch in self._loader:
            if isinstance(batch, ReadFailure):
                batch.raise_error()
            yield batch


def micro_batches(batch: Batch, n: int) -> list[Batch]:
    """The parts of a batch that are run one after the other to save memory.

    Args:
        batch: images, noise, and contexts if there are any.
        n: the number of parts; fewer if the batch has fewer images.
    """
    size = -(-len(batch[0]) // n)
    return list(zip(*(tensor.split(size) for tensor in batch), strict=True))


def example_contexts(flow: Density, images: Examples) -> Tensor | None:
    """The context of each image for a conditional flow, (N, ...); None for a flow without context.

    Args:
        flow: the flow.
        images: a data set with the labels "class", for a flow with classes, or else with the labels "context".

    Raises:
        ValueError: if the images come without such labels, their number is not that of the images, or a class number
            is no integer or none of the flow's.
    """
    if flow.plan.context is None:
        return None
    classes = flow.context_encoder.classes
    if classes is None:
        contexts = labels(images, "context")
    else:
        contexts = class_numbers(images)
        if len(contexts) and not 0 <= contexts.min() <= contexts.max() < classes:
            found = f"{contexts.min().item()} to {contexts.max().item()}"
            raise InputError(f"class numbers from 0 to {classes - 1}", str(found))
    if len(contexts) != len(images):
        raise InputError(f"a label for each of {len(images)} images", str(len(contexts)))
    return contexts


def _unchanged(batch: Any) -> Any:
    """The batch itself: it is complete already."""
    return batch


def _ignore_stop_signals(worker: int) -> None:
    """Ignore signals to stop in a process that reads images: the run finishes its step, then ends this process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
