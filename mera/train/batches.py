"""Which images come in which step, and their noise: pure functions of seed, step and row.

So a run goes on where it stopped, and is the same run whatever the number of processes that share its batches.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mera._utils.random import seeded
from mera.data import ImageSet, labels
from mera.flow import Flow
from mera.train.signals import SIGNALS

__all__ = ["Batches", "contexts", "loader", "noisy"]

Key = tuple[int, int, int]
"""Step, row in the batch, number of the image."""


class Batches(Sampler[list[Key]]):
    """Shuffled batches without end, each epoch in an order of its own; the last, smaller batch of one is left out.

    Args:
        n: images in the set.
        batch_size: images in a batch.
        seed: of the orders.
        start: steps that were taken already.
        share: which part of each batch is wanted, and of how many.

    Raises:
        ValueError: if a batch does not divide into shares of one size.
    """

    def __init__(self, n: int, batch_size: int, seed: int, start: int = 0, share: tuple[int, int] = (0, 1)) -> None:
        self.n, self.batch_size, self.seed, self.start = n, batch_size, seed, start
        index, shares = share
        if batch_size < 1 or batch_size % shares:
            raise ValueError(f"Expected a batch_size that {shares} processes can share; got {batch_size} of {n} images")
        width = batch_size // shares
        self.rows = range(index * width, (index + 1) * width)

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = self.n // self.batch_size
        step = self.start
        while True:
            epoch, first = divmod(step, per_epoch)
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            order = torch.randperm(self.n, generator=generator).tolist()
            for index in range(first, per_epoch):
                step += 1
                yield [(step, row, order[index * self.batch_size + row]) for row in self.rows]


class WithNoise(Dataset):
    """Images with the noise that dequantises them; what a set draws itself, to flip images say, is as repeatable.

    With contexts, each comes with its own.
    """

    def __init__(self, images: ImageSet, seed: int, contexts: Tensor | None = None) -> None:
        self.images, self.seed, self.contexts = images, seed, contexts

    def __getitem__(self, key: Key) -> tuple[Tensor, ...]:
        step, row, index = key
        pair = noisy(self.images, index, self.seed, step, row)
        return pair if self.contexts is None else (*pair, self.contexts[index])


def contexts(flow: Flow, images: ImageSet) -> Tensor | None:
    """What a conditional flow is to be told of each image: its class, or its "context"; None for any other flow.

    Raises:
        ValueError: if the images come without.
    """
    if flow.plan.context is None:
        return None
    return labels(images, "class" if flow.context_encoder.classes is not None else "context")


def noisy(images: ImageSet, index: int, *keys: int) -> tuple[Tensor, Tensor]:
    """An image and noise in [0, 1) of its shape, both drawn from the numbers `keys`."""
    with seeded(*keys):
        image = images[index]
        return image, torch.rand(image.shape)


def loader(images: ImageSet, batches: Batches, workers: int, contexts: Tensor | None = None) -> DataLoader:
    """Batches of images and their noise, each (B, C, L, L), and of their contexts, if there are some."""
    own = torch.Generator()  # else the loader would draw from the random state that a run restores
    return DataLoader(
        WithNoise(images, batches.seed, contexts),
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=_leave_stopping_to_the_run,
        generator=own,
    )


def _leave_stopping_to_the_run(worker: int) -> None:
    """A signal to all processes of a group is for the run alone, which still takes a step and then ends its workers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
