"""Examples as people have them (tensors, arrays, pairs with labels, data sets of torch) as data sets to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.errors import InputError
from mera.data.dataset import ArrayDataset, DataSplits, Examples, load

__all__ = ["as_splits"]

HELD_OUT = 10
"""One in so many examples is held out for the test where no test set is given."""


class ItemDataset(Dataset):
    """The examples of any data set of torch, whose items are tensors, arrays, PIL images, or tuples that start so.

    Args:
        data: the data set. Labels are its `labels`, its `targets`, or else the second entries of its items.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.labels = getattr(data, "labels", None)
        if not isinstance(self.labels, Mapping):
            self.labels = self._find_labels()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        item = self.data[index]
        example = item[0] if isinstance(item, (tuple, list)) else item
        if isinstance(example, Image):
            from torchvision.transforms.v2.functional import pil_to_tensor

            return pil_to_tensor(example)
        return example if isinstance(example, Tensor) else torch.from_numpy(np.array(example))

    def _find_labels(self) -> dict[str, Tensor]:
        targets = getattr(self.data, "targets", None)
        if targets is None:
            item = self.data[0] if len(self.data) else None
            if not isinstance(item, (tuple, list)) or len(item) < 2:
                return {}
            targets = [self.data[index][1] for index in range(len(self.data))]
        return _as_labels(targets)


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
            floats; a data set of torch whose items are examples or tuples (example, label, ...); or a pair or a dict of
            training and test examples, each of any of these kinds. Without test examples, every tenth example is held
            out.
        shape: the shape (C, *sites) of an example of the flow.

    Raises:
        ValueError: if the data is of another kind.
    """
    if isinstance(data, DataSplits):
        return data
    if isinstance(data, str):
        return load(data, L=shape[-1])
    if isinstance(data, Mapping) and set(data) == {"train", "test"}:
        data = data["train"], data["test"]
    elif not (isinstance(data, (tuple, list)) and len(data) == 2 and not _is_labels(data[1], data[0])):
        return _held_out(_as_examples(data, shape), shape[0])
    train, test = (_as_examples(part, shape) for part in data)
    return DataSplits("your own data", shape[0], train, test)


def _as_examples(data: Any, shape: Sequence[int]) -> Examples:
    """One data set, from whatever a user has."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and _is_labels(data[1], data[0]):
        return ArrayDataset(_with_channels(data[0], shape), _as_labels(data[1]))
    if isinstance(data, (Tensor, np.ndarray)):
        return ArrayDataset(_with_channels(data, shape))
    if isinstance(data, Dataset) or (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        if isinstance(data, (str, bytes, Mapping)):
            raise InputError("examples", f"a {type(data).__name__}")
        return ItemDataset(data)
    raise InputError(
        "examples: a tensor, an array, a pair (examples, labels), a data set of torch, or training and test examples",
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
