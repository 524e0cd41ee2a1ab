"""Data sets of iterables, whose examples are read in their own order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.data.dataset import HELD_OUT, ArrayDataset, DataSplits
from mera.data.items import example_of

MAX_TEST_EXAMPLES = 200
"""The most examples at the beginning of a stream that are held out for the test."""


class StreamDataset(Dataset):
    """The examples of a stream by their position, for a reader that goes forwards.

    Reading an earlier position, as a resumed run does, restarts the stream and skips the examples before that position.
    The stream also restarts after its last example. Random numbers that the stream draws from torch when it starts, for
    a shuffled order say, are the same each time; other sources of randomness the stream must make repeatable itself.

    Args:
        stream: any iterable that can be iterated again and again.
        shape: the shape of an example.
        start: the number of examples at the beginning that are left out.

    Raises:
        ValueError: if the stream is an iterator, which can be iterated only once.
    """

    in_order = True

    def __init__(self, stream: Iterable[Any], shape: Sequence[int], start: int = 0) -> None:
        if iter(stream) is stream:
            raise InputError("an iterable that can be iterated again, as an IterableDataset can", f"{stream!r}")
        self.stream, self.shape, self.start = stream, tuple(shape), start
        self._items: Iterator[Any] = iter(())
        self._position = 0
        self._item: Any = None

    def __getitem__(self, index: int) -> Tensor:
        if index < 0:
            raise IndexError(f"Expected a position from the beginning of the stream; got {index}")
        if index < self._position - 1 or not self._position:
            self._items, self._position = begin(self.stream, self.start), 0
        state = torch.get_rng_state()  # random numbers of an item must not depend on skipped items
        while self._position <= index:
            torch.set_rng_state(state)
            try:
                self._item = next(self._items)
            except StopIteration:
                self._items = begin(self.stream, self.start)
                self._item = next(self._items, None)
            if self._item is None:
                raise InputError("a stream with more examples than are held out for the test", f"{self.stream!r}")
            self._position += 1
        return example_of(self._item, self.shape)


def begin(stream: Iterable[Any], start: int = 0) -> Iterator[Any]:
    """Iterate over a stream without its first `start` items; its random numbers at the start are the same each time."""
    with seeded(0):
        items = iter(stream)
        head = list(islice(items, 1))  # generators draw their order when the first item is requested
    return islice(chain(head, items), start, None)


def is_stream(data: object) -> bool:
    """Return whether data is iterable, but cannot be indexed."""
    return isinstance(data, IterableDataset) or (hasattr(data, "__iter__") and not hasattr(data, "__getitem__"))


def split_stream(stream: Iterable[Any], shape: Sequence[int]) -> DataSplits:
    """Hold out the first examples of a stream for the test, in memory; all further examples are for training.

    The number of test examples is a tenth of the first 2,000 examples, or of all if there are fewer.
    """
    count, head = 0, []
    with seeded(0):  # random numbers of the items are the same each time
        for count, item in enumerate(islice(begin(stream), MAX_TEST_EXAMPLES * HELD_OUT), start=1):
            if count <= MAX_TEST_EXAMPLES:
                head.append(item)
    if count < 2:
        raise InputError("a stream of at least 2 examples", str(count))
    test = [example_of(item, shape) for item in head[: max(1, count // HELD_OUT)]]
    train: Any = StreamDataset(stream, shape, len(test))  # `Examples` without a length
    return DataSplits("your own data", shape[0], train, ArrayDataset(torch.stack(test)))
