"""Which images come in which step: a pure function of seed and step, so that a run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

__all__ = ["Batches"]


class Batches(Sampler[list[int]]):
    """Shuffled batches without end, each epoch in an order of its own; the last, smaller batch of one is left out.

    Args:
        n: images in the set.
        batch_size: images in a batch; the whole set if it has fewer.
        seed: of the orders.
        start: steps that were taken already.
    """

    def __init__(self, n: int, batch_size: int, seed: int, start: int = 0) -> None:
        self.n, self.batch_size, self.seed, self.start = n, min(batch_size, n), seed, start

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = self.n // self.batch_size
        epoch, first = divmod(self.start, per_epoch)
        while True:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            order = torch.randperm(self.n, generator=generator)
            for index in range(first, per_epoch):
                yield order[index * self.batch_size : (index + 1) * self.batch_size].tolist()
            epoch, first = epoch + 1, 0
