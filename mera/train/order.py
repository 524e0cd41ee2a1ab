"""The order of examples in the rows of the steps, a pure function of seed, step and row.

A resumed run therefore reads the same batches as an uninterrupted run, whatever the number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from mera._utils.errors import InputError

MAX_LISTED = 2**22
"""The most examples whose order is a stored permutation; a longer list would take too much memory."""


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

    Args:
        batch_size: the number of rows of a step, over all processes.
        in_order: whether examples are read in their own order, as streams are.
    """

    def __init__(self, n: int, batch_size: int, seed: int, in_order: bool = False) -> None:
        self.n, self.batch_size, self.seed, self.in_order = n, batch_size, seed, in_order
        self._epoch, self._permutation = -1, _permutation(1, 0)

    def indices(self, step: int, rows: Sequence[int]) -> list[int]:
        """The index of the example in each of the rows of a step; steps count from 1."""
        if self.in_order:
            return [(step - 1) * self.batch_size + row for row in rows]
        epoch, batch = divmod(step - 1, self.n // self.batch_size)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, _permutation(self.n, self.seed * 1_000_003 + epoch)
        return [self._permutation(batch * self.batch_size + row) for row in rows]


def _permutation(n: int, seed: int) -> Callable[[int], int]:
    """A permutation of the indices below n that a seed determines, as a function."""
    generator = torch.Generator().manual_seed(seed)
    if n <= MAX_LISTED:
        return torch.randperm(n, generator=generator).tolist().__getitem__
    start, stride = (int(torch.randint(n, (), generator=generator)) for _ in range(2))
    while math.gcd(stride, n) != 1:
        stride += 1
    return partial(_strided, n, start, stride)  # a list of more indices would take too much memory


def _strided(n: int, start: int, stride: int, index: int) -> int:
    """The index-th of start, start + stride, start + 2 stride, ... modulo n."""
    return (start + index * stride) % n
