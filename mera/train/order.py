"""The order of examples in the rows of the steps, a pure function of seed, step and row.

A resumed run therefore reads the same batches as an uninterrupted run, whatever the number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        self._epoch, self._permutation = -1, torch.empty(0)

    def indices(self, step: int, rows: Sequence[int]) -> list[int]:
        """The index of the example in each of the rows of a step; steps count from 1."""
        if self.in_order:
            return [(step - 1) * self.batch_size + row for row in rows]
        epoch, batch = divmod(step - 1, self.n // self.batch_size)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        places = torch.tensor(rows) + batch * self.batch_size
        if self.n > MAX_LISTED:
            return self._strided(places.tolist(), generator)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, torch.randperm(self.n, generator=generator)
        return self._permutation[places].tolist()

    def _strided(self, places: list[int], generator: torch.Generator) -> list[int]:
        """The examples at places of the sequence start, start + stride, start + 2 stride, ... modulo n."""
        start, stride = (int(torch.randint(self.n, (), generator=generator)) for _ in range(2))
        while math.gcd(stride, self.n) != 1:
            stride += 1
        return [(start + place * stride) % self.n for place in places]
