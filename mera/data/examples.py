"""Conversion of data of any kind to training and test examples: uint8 images, or fields of floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera.data.dataset import HELD_OUT, ArrayDataset, DataSplits, Examples, load
from mera.data.items import LABEL_KEYS, check_array, check_finite, check_labels, example_of, key_of, label_of
from mera.data.streams import StreamDataset, is_stream, split_stream

BRIGHTEST = {torch.uint16: 65535, torch.bool: 1}
"""The largest value of a pixel by dtype; 255 for other integers, 1 for floats."""


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
    """Every tenth example of a data set if `held_out`, else all other examples."""

    def __init__(self, examples: Examples, held_out: bool) -> None:
        self.examples, self.held_out = examples, held_out
        self.period = min(HELD_OUT, len(examples))

    def __len__(self) -> int:
        n_held_out = len(self.examples) // self.period
        return n_held_out if self.held_out else len(self.examples) - n_held_out

    def __getitem__(self, index: int) -> Tensor:
        return self.examples[self._index(range(len(self))[index])]

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
    if isinstance(examples, ItemDataset) and hasattr(examples.data, "hold_out"):
        is_converted, shape = isinstance(examples, Images), examples.shape
        training, held_out = (
            Images(part) if is_converted else ItemDataset(part, shape) for part in examples.data.hold_out()
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
        examples = _as_examples(data, shape, conditional)
        if len(examples) < 2:
            raise InputError("at least 2 examples, of which one in ten is held out for the test", str(len(examples)))
        return DataSplits("your own data", shape[0], *hold_out(examples))
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
        if (
            hasattr(data, "__getitem__")
            and hasattr(data, "__len__")
            and not isinstance(data, (str, bytes, Mapping, tuple))
        ):
            return Images(data)
        raise InputError("a tensor, an array, or a data set that can be read in any order", type(data).__name__)
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
    """Whether the first examples are floats in [0, 1] that reach from dark to bright, in the shape of images."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        return False
    values = torch.stack([examples[index] for index in range(min(n, length_hint(examples, n)))])
    low, high = values.min().item(), values.max().item()
    return values.is_floating_point() and 0 <= low < high <= 1
