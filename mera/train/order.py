"""Which example stands in which row of a step: a pure function of seed, step and row.

A resumed run therefore reads the same batches as a run that was never interrupted, and so do several processes that
share the batches, whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

MAX_LISTED = 2**22
"""The most examples whose order is a random permutation; the list of more would take too much memory."""


class Order:
    """Epochs without end, each in an order of its own; the last batch of an epoch is left out if it is smaller.

    Args:
        n: the number of examples.
        batch_size: the number of rows of a step, over all processes.
        seed: the seed of the orders.
        in_order: whether examples are read in their own order, as streams are, which can only be read forwards.
    """

    def __init__(self, n: int, batch_size: int, seed: int, in_order: bool = False) -> None:
        self.n, self.batch_size, self.seed, self.in_order = n, batch_size, seed, in_order
        self._epoch, self._permutation = -1, _permutation(1, 0)

    def indices(self, step: int, rows: Sequence[int]) -> list[int]:
        """The index of the example in each row.

        Args:
            step: the step, from 1 on.
            rows: indices of rows in the batch.
        """
        if self.in_order:
            return [(step - 1) * self.batch_size + row for row in rows]
        epoch, batch = divmod(step - 1, self.n // self.batch_size)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, _permutation(self.n, self.seed * 1_000_003 + epoch)
        return [self._permutation[batch * self.batch_size + row] for row in rows]


def _permutation(n: int, seed: int) -> Sequence[int]:
    """All indices below n in an order that a seed determines."""
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
