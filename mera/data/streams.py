"""Examples that come in a stream, one after the other, and that nobody can count."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.data.dataset import ArrayDataset, DataSplits
from mera.data.items import example_of

__all__ = ["StreamDataset", "is_stream", "split_stream"]

TEST_EXAMPLES = 200
"""The most examples at the beginning of a stream that are held out for the test."""
HELD_OUT = 10
"""One in so many examples is held out, where their number is known."""


class StreamDataset(Dataset):
    """The examples of a stream by their position, for readers that go forwards.

    A reader that goes back, as a resumed run does, starts the stream again and skips what comes before. Behind the last
    example the stream starts again. The stream must be the same each time.

    Args:
        stream: any iterable that can be iterated again and again.
        shape: the shape of an example.
        start: how many examples at the beginning are left out.

    Raises:
        ValueError: if the stream is an iterator, which can be iterated once only.
    """

    def __init__(self, stream: Iterable[Any], shape: Sequence[int], start: int = 0) -> None:
        if iter(stream) is stream:
            raise InputError("an iterable that can be iterated again, as an IterableDataset can", f"{stream!r}")
        self.stream, self.shape, self.start = stream, tuple(shape), start
        self._items: Iterator[Any] | None = None
        self._position = 0
        self._last: Tensor | None = None

    def __len__(self) -> int:
        """The largest number that Python allows, since nobody knows."""
        return sys.maxsize

    def __getitem__(self, index: int) -> Tensor:
        if self._items is None or index < self._position - 1:
            self._items, self._position = self._beginning(), 0
        state = torch.get_rng_state()  # what an item draws at random is not to depend on the items that were skipped
        while self._position <= index:
            torch.set_rng_state(state)
            self._last = self._next()
            self._position += 1
        if self._last is None:
            raise InputError("a position in the stream", str(index))
        return self._last

    def __getstate__(self) -> dict[str, Any]:
        """For processes that read ahead: each has an iterator of its own."""
        return self.__dict__ | {"_items": None, "_last": None, "_position": 0}

    def _beginning(self) -> Iterator[Any]:
        return islice(iter(self.stream), self.start, None)

    def _next(self) -> Tensor:
        try:
            item = next(self._items or self._beginning())
        except StopIteration:
            self._items = self._beginning()
            item = next(self._items, None)
            if item is None:
                raise InputError("a stream that can be iterated again", f"an empty one: {self.stream!r}") from None
        return example_of(item, self.shape)


def is_stream(data: object) -> bool:
    """Whether data is iterable, and has no items by number.

    Args:
        data: what a user passes to `fit`.
    """
    return isinstance(data, IterableDataset) or (hasattr(data, "__iter__") and not hasattr(data, "__getitem__"))


def split_stream(stream: Iterable[Any], shape: Sequence[int]) -> DataSplits:
    """The first 200 examples of a stream for the test, kept in memory, and all further ones for training.

    Of a stream whose length is known, or that ends before, one in ten examples is held out.

    Args:
        stream: the stream.
        shape: the shape of an example.

    Raises:
        ValueError: if the stream has fewer than 2 examples, or can be iterated once only.
    """
    whole = StreamDataset(stream, shape)
    with seeded(0):  # what the stream draws at random is the same each time
        first = list(islice(stream, TEST_EXAMPLES))
    if len(first) < 2:
        raise InputError("a stream of at least 2 examples", str(len(first)))
    is_all = len(first) < TEST_EXAMPLES
    length = len(stream) if isinstance(stream, Sized) else len(first) if is_all else TEST_EXAMPLES * HELD_OUT
    test = [example_of(item, shape) for item in first[: max(1, length // HELD_OUT)]]
    whole.start = len(test)
    return DataSplits("your own data", shape[0], whole, ArrayDataset(torch.stack(test)))
