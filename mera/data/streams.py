"""Examples of an iterable, which are read in its own order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.data.dataset import ArrayDataset, DataSplits
from mera.data.items import example_of
from mera.data.splitting import HELD_OUT

MOST_TEST_EXAMPLES = 200
"""The most examples at the beginning of a stream that are held out for the test."""


class StreamDataset(Dataset):
    """The examples of a stream by their position, for a reader that goes forwards.

    A reader that goes back, as a resumed run does, starts the stream again and skips what comes before. Behind the last
    example the stream starts again. What the stream draws from torch when it starts, the order of a shuffled one say,
    is the same each time; for other sources of chance the stream must see to it itself.

    Args:
        stream: any iterable that can be iterated again and again.
        shape: the shape of an example.
        start: how many examples at the beginning are left out.

    Raises:
        ValueError: if the stream is an iterator, which can be iterated once only.
    """

    in_order = True

    def __init__(self, stream: Iterable[Any], shape: Sequence[int], start: int = 0) -> None:
        if iter(stream) is stream:
            raise InputError("an iterable that can be iterated again, as an IterableDataset can", f"{stream!r}")
        self.stream, self.shape, self.start = stream, tuple(shape), start
        self._items: Iterator[Any] = iter(())
        self._position = 0
        self._item: Any = None

    def __len__(self) -> int:
        """The largest number that Python allows, a stand-in: the length of a stream is unknown."""
        return sys.maxsize

    def __getitem__(self, index: int) -> Tensor:
        if index < 0:
            raise IndexError(f"Expected a position from the beginning of the stream; got {index}")
        if index < self._position - 1 or not self._position:
            self._items, self._position = begin(self.stream, self.start), 0
        state = torch.get_rng_state()  # what an item draws at random is not to depend on the items that were skipped
        while self._position <= index:
            torch.set_rng_state(state)
            self._item = self._next()
            self._position += 1
        return example_of(self._item, self.shape)

    def __getstate__(self) -> dict[str, Any]:
        """For pickling, without the iterator."""
        return self.__dict__ | {"_items": iter(()), "_item": None, "_position": 0}

    def _next(self) -> Any:
        """The next item, from the beginning again behind the last one."""
        for item in self._items:
            return item
        self._items = begin(self.stream, self.start)
        for item in self._items:
            return item
        raise InputError("a stream with more examples than are held out for the test", f"{self.stream!r}")


def begin(stream: Iterable[Any], start: int = 0) -> Iterator[Any]:
    """The items of a stream from a position on; what the stream draws when it starts is the same each time.

    Args:
        stream: the stream.
        start: how many items at the beginning are left out.
    """
    with seeded(0):
        items = iter(stream)
        head = list(islice(items, 1))  # generators draw their order when the first item is asked for
    return islice(chain(head, items), start, None)


def is_stream(data: object) -> bool:
    """Whether data is iterable, and has no items by number.

    Args:
        data: what a user passes to `fit`.
    """
    return isinstance(data, IterableDataset) or (hasattr(data, "__iter__") and not hasattr(data, "__getitem__"))


def split_stream(stream: Iterable[Any], shape: Sequence[int]) -> DataSplits:
    """The first examples of a stream for the test, kept in memory, and all further ones for training.

    One in ten of the first 2,000 examples, or of all if there are fewer, is held out.

    Args:
        stream: the stream.
        shape: the shape of an example.

    Raises:
        ValueError: if the stream has fewer than 2 examples, or can be iterated once only.
    """
    StreamDataset(stream, shape)  # refuses what can be iterated once only
    count, first = 0, []
    with seeded(0):  # what items draw at random is the same each time
        for count, item in enumerate(islice(begin(stream), MOST_TEST_EXAMPLES * HELD_OUT), start=1):
            if count <= MOST_TEST_EXAMPLES:
                first.append(item)
    if count < 2:
        raise InputError("a stream of at least 2 examples", str(count))
    test = [example_of(item, shape) for item in first[: max(1, count // HELD_OUT)]]
    train = StreamDataset(stream, shape, len(test))
    return DataSplits("your own data", shape[0], train, ArrayDataset(torch.stack(test)))
