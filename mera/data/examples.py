"""Examples as people have them (tensors, arrays, pairs with labels, data sets of torch) as data sets to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.errors import InputError
from mera.data.dataset import ArrayDataset, DataSplits, Examples, load
from mera.data.items import LABEL_KEYS, example_of, key_of, label_of
from mera.data.streams import HELD_OUT, StreamDataset, is_stream, split_stream

__all__ = ["as_splits"]


class ItemDataset(Dataset):
    """The examples of any data set whose items are examples, or tuples or dicts with an example and a label.

    Args:
        data: a data set of torch or of the library datasets, or a list. Labels are its `labels`, its `targets`, its
            column of labels, or else what the items have.
        shape: the shape of an example.
    """

    def __init__(self, data: Any, shape: Sequence[int]) -> None:
        self.data, self.shape = data, tuple(shape)
        labels = getattr(data, "labels", None)
        self.labels: Mapping[str, Tensor] = labels if isinstance(labels, Mapping) else self._find_labels()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return example_of(self.data[index], self.shape)

    def _find_labels(self) -> dict[str, Tensor]:
        targets = getattr(self.data, "targets", None)
        if targets is None and hasattr(self.data, "column_names"):
            column = key_of(self.data.column_names, LABEL_KEYS)
            targets = None if column is None else self.data[column][:]
        elif targets is None and len(self.data) and label_of(self.data[0]) is not None:
            targets = [label_of(self.data[index]) for index in range(len(self.data))]
        return {} if targets is None else _as_labels(targets)


class Part(Dataset):
    """All examples of a data set but every tenth one, or every tenth one.

    Args:
        examples: the data set.
        held_out: whether the part is every tenth example.
    """

    def __init__(self, examples: Examples, held_out: bool) -> None:
        self.examples, self.held_out = examples, held_out
        self.period = min(HELD_OUT, len(examples))
        labels = getattr(examples, "labels", {})
        indices = torch.tensor([self._index(i) for i in range(len(self))]) if labels else torch.empty(0)
        self.labels = {name: values[indices] for name, values in labels.items()}

    def __len__(self) -> int:
        n_held_out = len(self.examples) // self.period
        return n_held_out if self.held_out else len(self.examples) - n_held_out

    def __getitem__(self, index: int) -> Tensor:
        return self.examples[self._index(index)]

    def _index(self, index: int) -> int:
        """The index in the whole data set, computed rather than stored: there may be hundreds of millions."""
        if self.held_out:
            return index * self.period + self.period - 1
        return index + index // (self.period - 1)


def as_splits(data: Any, shape: Sequence[int]) -> DataSplits:
    """Training and test examples, from whatever a user has.

    Args:
        data: a `DataSplits`; the name of a registered data set; a tensor or an array of examples (N, C, *shape), or
            (N, *shape) for one channel; a pair (examples, labels), where labels are class numbers (N,) or contexts of
            floats; a data set of torch or of the library datasets, whose items are examples, tuples (example, label,
            ...) or dicts; an iterable, such as an `IterableDataset`, which is read in its own order; or a pair or a
            dict of training and test examples, each of any of these kinds. Without test examples, every tenth example
            is held out, of an iterable the first ones.
        shape: the shape (C, *sites) of an example of the flow.

    Raises:
        ValueError: if the data is of another kind.
    """
    if isinstance(data, DataSplits):
        parts = [_as_examples(part, shape) for part in (data.train, data.test)]
        is_same = parts[0] is data.train and parts[1] is data.test
        return data if is_same else replace(data, train=parts[0], test=parts[1])
    if isinstance(data, str):
        return load(data, L=tuple(shape[1:]))
    if isinstance(data, Mapping) and "train" in data:
        held_out = key_of(data, ("test", "validation"))
        data = data["train"] if held_out is None else (data["train"], data[held_out])
    if not (isinstance(data, (tuple, list)) and len(data) == 2 and not _is_labels(data[1], data[0])):
        return split_stream(data, shape) if is_stream(data) else _held_out(_as_examples(data, shape), shape[0])
    train, test = (_as_examples(part, shape) for part in data)
    return DataSplits("your own data", shape[0], train, test)


def _as_examples(data: Any, shape: Sequence[int]) -> Examples:
    """One data set, from whatever a user has."""
    if isinstance(data, (ArrayDataset, ItemDataset, Part, StreamDataset)):
        return data
    if isinstance(data, (tuple, list)) and len(data) == 2 and _is_labels(data[1], data[0]):
        return ArrayDataset(_with_channels(data[0], shape), _as_labels(data[1]))
    if isinstance(data, (Tensor, np.ndarray)):
        return ArrayDataset(_with_channels(data, shape))
    if is_stream(data):
        return StreamDataset(data, shape)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes, Mapping)):
        return ItemDataset(data, shape)
    raise InputError(
        "examples: a tensor, an array, a pair (examples, labels), a data set of torch, an iterable, or training and "
        "test examples",
        type(data).__name__,
    )


def _is_labels(labels: Any, examples: Any) -> bool:
    """Whether the second entry of a pair holds labels of the first, rather than examples for the test."""
    if not isinstance(examples, (Tensor, np.ndarray)) or not isinstance(labels, (Tensor, np.ndarray, list)):
        return False
    values = np.asarray(labels)
    return values.ndim == 1 or (values.ndim < examples.ndim and len(values) == len(examples))


def _as_labels(values: Any) -> dict[str, Tensor]:
    """Labels by name: class numbers if they are integers, contexts if they are floats."""
    tensor = torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values)
    return {"context" if tensor.is_floating_point() else "class": tensor}


def _with_channels(array: Any, shape: Sequence[int]) -> Any:
    """An array of examples with an axis of channels."""
    if array.ndim == len(shape) and shape[0] == 1:
        return array[:, None]
    return array


def _held_out(examples: Examples, channels: int) -> DataSplits:
    """Every tenth example for the test, at least one."""
    if len(examples) < 2:
        raise InputError("at least 2 examples, of which one in ten is held out for the test", str(len(examples)))
    return DataSplits("your own data", channels, Part(examples, False), Part(examples, True))
