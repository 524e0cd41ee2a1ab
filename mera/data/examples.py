"""Conversion of tensors, arrays, pairs with labels and data sets of torch to training and test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera.data.dataset import ArrayDataset, DataSplits, Examples, load
from mera.data.gate import check_array, check_finite, check_labels
from mera.data.items import LABEL_KEYS, example_of, key_of, label_of
from mera.data.pixels import Fields, Images
from mera.data.splitting import HELD_OUT
from mera.data.streams import StreamDataset, is_stream, split_stream


class ItemDataset(Dataset):
    """The examples of any data set whose items are examples, or tuples or dicts with an example and a label.

    Args:
        data: a data set of torch or of the library datasets, or a list.
    """

    def __init__(self, data: Any, shape: Sequence[int]) -> None:
        self.data, self.shape = data, tuple(shape)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return check_finite(example_of(self.data[index], self.shape), index)

    @cached_property
    def labels(self) -> Mapping[str, Tensor]:
        """The `labels` or `targets` of the data, or its column of labels, or else the labels of its items, all read."""
        data = self.data
        labels = getattr(data, "labels", None)
        if isinstance(labels, Mapping):
            return check_labels(labels, len(self))
        if labels is None:
            labels = getattr(data, "targets", None)
        if labels is None and hasattr(data, "column_names"):
            column = key_of(data.column_names, LABEL_KEYS)
            labels = None if column is None else data[column][:]
        elif labels is None and len(data) and label_of(data[0]) is not None:
            labels = [label_of(data[index]) for index in range(len(data))]
        return {} if labels is None else check_labels(_as_labels(labels), len(self))


class Part(Dataset):
    """Every tenth example of a data set if `held_out`, else all other examples."""

    def __init__(self, examples: Examples, held_out: bool) -> None:
        self.examples, self.held_out = examples, held_out
        self.period = min(HELD_OUT, len(examples))

    def __len__(self) -> int:
        n_held_out = len(self.examples) // self.period
        return n_held_out if self.held_out else len(self.examples) - n_held_out

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected an index from 0 to {len(self) - 1}; got {index}")
        return self.examples[self._index(index)]

    @cached_property
    def labels(self) -> dict[str, Tensor]:
        """The labels of the examples of this part, by name."""
        labels = getattr(self.examples, "labels", {})
        indices = torch.tensor([self._index(i) for i in range(len(self))]) if labels else torch.empty(0)
        return {name: values[indices] for name, values in labels.items()}

    def _index(self, index: int) -> int:
        """The index in the whole data set; computed, since a stored list could have hundreds of millions of entries."""
        if self.held_out:
            return index * self.period + self.period - 1
        return index + index // (self.period - 1)


def hold_out(examples: Any) -> tuple[Any, Any]:
    """Divide examples in two, to learn from and to test or to choose weights by: every tenth example.

    Random windows are divided by pictures or by area (see `Windows.hold_out`), since windows overlap.
    """
    if isinstance(examples, ItemDataset):
        is_converted = isinstance(examples.data, Images)
        data = examples.data.data if is_converted else examples.data
        if hasattr(data, "hold_out"):
            training, held_out = (
                ItemDataset(Images(x) if is_converted else x, examples.shape) for x in data.hold_out()
            )
            return training, held_out
    return Part(examples, False), Part(examples, True)


def as_splits(data: Any, shape: Sequence[int], conditional: bool = False) -> DataSplits:
    """Convert data of any kind to training and test examples.

    Args:
        data: a `DataSplits`; the name of a registered data set; a tensor or an array of examples (N, C, *shape), or
            (N, *shape) for one channel; a pair (examples, labels), where labels are class numbers (N,) or contexts of
            floats; a data set of torch or of the library datasets, whose items are examples, tuples (example, label,
            ...) or dicts; an iterable, such as an `IterableDataset`, which is read in its own order; a pair or a dict
            of training and test examples, each of any kind above; or a result of `as_fields`. Without test examples,
            every tenth example is held out; of an iterable, the first examples are held out.
        shape: the shape (C, *sites) of an example of the flow.
        conditional: whether the flow takes a context, so that a pair of arrays is (examples, labels); without a
            context, a pair of arrays of the same rank is training and test examples.

    Raises:
        ValueError: if the data is of another kind.
    """
    check_shape(shape, "shape")
    if isinstance(data, Fields):
        return replace(as_splits(data.data, shape, conditional), are_fields=True)
    if isinstance(data, str):
        data = load(data, L=tuple(shape[1:]))
    if isinstance(data, DataSplits):
        parts = [_as_examples(part, shape) for part in (data.train, data.test)]
        is_same = parts[0] is data.train and parts[1] is data.test
        return data if is_same else replace(data, train=parts[0], test=parts[1])
    if isinstance(data, Mapping) and "train" in data:
        held_out = key_of(data, ("test", "validation"))
        data = data["train"] if held_out is None else (data["train"], data[held_out])
    if not (isinstance(data, (tuple, list)) and len(data) == 2 and not _is_labels(data[1], data[0], conditional)):
        if is_stream(data):
            return split_stream(data, shape)
        return _held_out(_as_examples(data, shape, conditional), shape[0])
    train, test = (_as_examples(part, shape, conditional) for part in data)
    return DataSplits("your own data", shape[0], train, test)


def _as_examples(data: Any, shape: Sequence[int], conditional: bool = False) -> Any:
    """Convert data of any kind to `Examples`, or to a `StreamDataset`, which has no length."""
    if isinstance(data, (ArrayDataset, ItemDataset, Part, StreamDataset)):
        return data
    if isinstance(data, (tuple, list)) and len(data) == 2 and _is_labels(data[1], data[0], conditional):
        return ArrayDataset(_with_channels(data[0], shape), _as_labels(data[1]))
    if isinstance(data, (Tensor, np.ndarray)) or hasattr(data, "to_numpy"):
        return ArrayDataset(_with_channels(check_array(data), shape))
    if is_stream(data):
        return StreamDataset(data, shape)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes, Mapping)):
        return ItemDataset(data, shape)
    raise InputError(
        "examples: a tensor, an array, a pair (examples, labels), a data set of torch, an iterable, or training and "
        "test examples",
        type(data).__name__,
    )


def _is_labels(labels: Any, examples: Any, conditional: bool) -> bool:
    """Whether the second entry of a pair is the labels of the first entry, rather than test examples."""
    if not isinstance(examples, (Tensor, np.ndarray)) or not isinstance(labels, (Tensor, np.ndarray, list)):
        return False
    ndim = labels.ndim if isinstance(labels, (Tensor, np.ndarray)) else np.ndim(labels)
    return conditional or ndim == 1 or (ndim < examples.ndim and len(labels) == len(examples))


def _as_labels(values: Any) -> dict[str, Tensor]:
    """Labels by name: class numbers if they are integers, contexts if they are floats."""
    try:
        tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise InputError("labels as numbers, or as contexts of one shape", repr(values)[:60]) from error
    return {"context" if tensor.is_floating_point() else "class": tensor}


def _with_channels(array: Any, shape: Sequence[int]) -> Any:
    """Insert an axis for one channel into an array of examples that lacks it."""
    return array[:, None] if array.ndim == len(shape) and shape[0] == 1 else array


def _held_out(examples: Examples, channels: int) -> DataSplits:
    """Hold out every tenth example for the test, at least one."""
    if len(examples) < 2:
        raise InputError("at least 2 examples, of which one in ten is held out for the test", str(len(examples)))
    return DataSplits("your own data", channels, *hold_out(examples))
