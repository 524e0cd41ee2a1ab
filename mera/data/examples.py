"""Conversion of data of any kind to training and test examples: uint8 images, or fields of floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera.data.dataset import HELD_OUT, ArrayDataset, DataSplits, Examples, load
from mera.data.items import LABEL_KEYS, check_array, check_finite, check_labels, example_of, key_of, label_of
from mera.data.pictures import WholePictures
from mera.data.random_windows import Windows
from mera.data.streams import StreamDataset, is_stream, split_stream

BRIGHTEST = {torch.uint16: 65535, torch.bool: 1}
"""The largest value of a pixel by dtype; 255 for other integers, 1 for floats."""


class ItemDataset(Dataset):
    """The examples of any data set whose items are examples, or tuples or dicts with an example and a label.

    Args:
        data: a data set of torch or of the library datasets, or a list.
        shape: the shape of an example.
        labels: labels in place of those of the data.
    """

    def __init__(self, data: Any, shape: Sequence[int], labels: Any = None) -> None:
        self.data, self.shape, self._labels = data, tuple(shape), labels

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return check_finite(example_of(self.data[index], self.shape), index)

    @cached_property
    def labels(self) -> Mapping[str, Tensor]:
        """The `labels` or `targets` of the data, or its column of labels, or else the labels of its items, all read."""
        data, labels = self.data, self._labels
        labels = getattr(data, "labels", None) if labels is None else labels
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


class Images(ItemDataset):
    """The examples of a data set as uint8 images, with its labels."""

    def __init__(self, data: Any) -> None:
        super().__init__(data, ())

    def __getitem__(self, index: int) -> Tensor:
        try:
            return as_images(example_of(self.data[index])[None])[0]
        except InputError as error:
            raise InputError(error.expected, error.got, where=f"example {index}") from None


class Part(Dataset):
    """One of each ten examples of a data set if `held_out`, at a random place, else all other examples.

    The places are random so that labels that come in turn, 0 to 9 say, are in both parts.
    """

    def __init__(self, examples: Examples, held_out: bool) -> None:
        self.examples, self.held_out = examples, held_out
        self.period = min(HELD_OUT, len(examples))
        groups = len(examples) // self.period
        self._places = np.random.default_rng(0).integers(self.period, size=groups, dtype=np.uint8)  # may be millions

    def __len__(self) -> int:
        return len(self._places) if self.held_out else len(self.examples) - len(self._places)

    def __getitem__(self, index: int) -> Tensor:
        return self.examples[self._index(range(len(self))[index])]

    @cached_property
    def labels(self) -> dict[str, Tensor]:
        """The labels of the examples of this part, by name."""
        labels = getattr(self.examples, "labels", {})
        indices = torch.tensor([self._index(i) for i in range(len(self))]) if labels else torch.empty(0)
        return {name: values[indices] for name, values in labels.items()}

    def _index(self, index: int) -> int:
        """The index in the whole data set."""
        period = self.period
        group, place = (index, 0) if self.held_out else divmod(index, period - 1)
        if group >= len(self._places):  # behind the last whole group
            return index + len(self._places)
        chosen = int(self._places[group])
        return group * period + (chosen if self.held_out else place + (place >= chosen))


def hold_out(examples: Any) -> tuple[Any, Any]:
    """Divide examples in two, to learn from and to test or to choose weights by: one of each ten.

    Random windows are divided by pictures or by area (see `Windows.hold_out`), since windows overlap.
    """
    return examples.hold_out() if isinstance(examples, Windows) else (Part(examples, False), Part(examples, True))


def as_splits(data: Any, shape: Sequence[int], test: Any = None, labels: Any = None) -> DataSplits:
    """Convert data of any kind to training and test examples.

    Args:
        data: a `DataSplits`; the name of a registered data set, a file or a folder, as `load` takes; a tensor or an
            array of examples (N, C, *shape), or (N, *shape) for one channel; a data set of torch or of the library
            datasets, whose items are examples, tuples (example, label, ...) or dicts; an iterable, such as an
            `IterableDataset`, which is read in its own order; or a result of `as_fields`.
        shape: the shape (C, *sites) of an example of the flow.
        test: test data, of one of the kinds above. If None, one of each ten examples is held out; of an iterable, the
            first examples are.
        labels: class numbers (N,), or contexts of floats (N, ...), of training data that have none.

    Raises:
        ValueError: if the data is of another kind, such as a pair, which might be data with labels or with a test.
    """
    check_shape(shape, "shape")
    if isinstance(data, Fields):
        return replace(as_splits(data.data, shape, test, labels), are_fields=True)
    if isinstance(data, (str, Path)):
        data = load(data, L=tuple(shape[1:]))
    if isinstance(data, DataSplits):
        if test is not None or labels is not None:
            raise InputError("no test= and no labels= beside a data set that has both", "one of them")
        parts = [_as_examples(part, shape) for part in (data.train, data.test)]
        is_same = parts[0] is data.train and parts[1] is data.test
        return data if is_same else replace(data, train=parts[0], test=parts[1])
    if is_stream(data) and test is None and labels is None:
        return split_stream(data, shape)
    examples = _as_examples(data, shape, labels)
    if test is not None:
        test = test.data if isinstance(test, Fields) else test
        return DataSplits("your own data", shape[0], examples, _as_examples(test, shape))
    if len(examples) < 2:
        raise InputError("at least 2 examples, of which one in ten is held out for the test", str(len(examples)))
    return DataSplits("your own data", shape[0], *hold_out(examples))


def _as_examples(data: Any, shape: Sequence[int], labels: Any = None) -> Any:
    """Convert data of any kind to `Examples`, or to a `StreamDataset`, which has no length."""
    if isinstance(data, (ArrayDataset, ItemDataset, Part, StreamDataset, Windows, WholePictures)) and labels is None:
        return data
    if isinstance(data, (Windows, WholePictures)):
        raise InputError("windows or pictures without labels=, which they have themselves", "labels")
    named = None if labels is None else _as_labels(labels)
    if isinstance(data, (Tensor, np.ndarray)) or hasattr(data, "to_numpy"):
        array = check_array(data)
        lacks_channels = array.ndim == len(shape) and shape[0] == 1
        return ArrayDataset(array[:, None] if lacks_channels else array, named)
    if is_stream(data):
        return StreamDataset(data, shape)
    if isinstance(data, (tuple, Mapping)):
        got = "a pair or a dict: fit(flow, train, test=test), or fit(flow, examples, labels=labels)"
        raise InputError("the examples alone, and the test and labels by name", got)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes)):
        return ItemDataset(data, shape, named)
    raise InputError("examples: a tensor, an array, a data set of torch, an iterable or a name", type(data).__name__)


def _as_labels(values: Any) -> dict[str, Tensor]:
    """Labels by name: class numbers if they are integers, contexts if they are floats."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    return {"context" if tensor.is_floating_point() else "class": tensor}


def as_images(data: Any) -> Any:
    """Convert pixels to uint8 images: floats in [0, 1], integers from 0 to 255, 16 bits, bools, channels last.

    Args:
        data: a tensor or an array (N, C, H, W), (N, H, W, C) or (N, H, W); or a data set that can be read in any order,
            whose items are examples, or tuples or dicts with one, and whose labels are kept.

    Returns:
        A tensor of uint8 images (N, C, H, W); or a data set of them.

    Raises:
        ValueError: if a value is out of range, or the data is of another kind.

    >>> import torch
    >>> as_images(torch.tensor([[[[0.0, 1.0]]]]))
    tensor([[[[  0, 255]]]], dtype=torch.uint8)
    """
    if not isinstance(data, (Tensor, np.ndarray)):
        if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
            raise InputError("a tensor, an array, or a data set that can be read in any order", type(data).__name__)
        if isinstance(data, (str, bytes, Mapping, tuple, Windows)):
            raise InputError("a data set of examples; convert images before windows of them", type(data).__name__)
        return Images(data)
    values = check_array(data, "images")
    values = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    if values.ndim == 4 and values.shape[3] in (1, 3) and values.shape[1] not in (1, 3):
        values = values.movedim(3, 1)
    values = values[:, None] if values.ndim == 3 else values
    if values.ndim != 4:
        raise InputError("pixels (N, C, H, W), (N, H, W, C) or (N, H, W)", f"shape {tuple(values.shape)}")
    if values.dtype == torch.uint8:
        return values
    brightest = 1 if values.is_floating_point() else BRIGHTEST.get(values.dtype, 255)
    values = values.double()
    low, high = (values.min().item(), values.max().item()) if values.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= brightest):  # also NaN of an array on disk
        raise InputError(f"pixels from 0 to {brightest}", f"{low:g} to {high:g}")
    return (values * 255 / brightest).round().to(torch.uint8)


@dataclass(frozen=True)
class Fields:
    """Data of any kind whose examples are fields, whatever they look like."""

    data: Any


def as_fields(data: Any) -> Fields:
    """Say that floats in [0, 1] in the shape of images are fields, to be learnt in nats for each variable.

    Args:
        data: what `mera.train.fit` takes.
    """
    return Fields(data)


def look_like_images(examples: Any, shape: Sequence[int], n: int = 16) -> bool:
    """Return whether the first examples are floats in [0, 1] that reach from dark to bright, in the shape of images."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        return False
    values = torch.stack([examples[index] for index in range(min(n, length_hint(examples, n)))])
    low, high = values.min().item(), values.max().item()
    return values.is_floating_point() and 0 <= low < high <= 1
