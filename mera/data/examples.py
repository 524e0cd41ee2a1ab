"""Conversion of data of any kind to training and test examples: uint8 images, or fields of floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera.data.dataset import HELD_OUT, ArrayDataset, DataSplits, Examples, load, takes
from mera.data.fingerprint import spread
from mera.data.items import LABEL_KEYS, check_array, check_finite, check_labels, example_of, key_of, label_of
from mera.data.pictures import WholePictures
from mera.data.random_windows import Windows

BRIGHTEST = {torch.uint16: 65535, torch.bool: 1}
"""The largest value of a pixel by dtype; 255 for other integers, 1 for floats."""
OPTION = "--data-options kind"
"""The option of the command line that says what floats are."""
MAX_LOOKED, MAX_RECURRING = 2**16, 2**10
"""The most values that are looked at to tell pixels from fields, and the most different ones that count as recurring:
those of 8 bits in three channels do, those of fields in half precision do not."""


class ItemDataset(Dataset):
    """The examples of any data set whose items are examples, or tuples or dicts with an example and a label.

    Args:
        data: a data set of torch or of the library datasets, or a list.
        shape: the shape of an example.
        labels: labels in place of those of the data; see `ArrayDataset`.
    """

    def __init__(self, data: Any, shape: Sequence[int], labels: Any = None) -> None:
        self.data, self.shape, self._labels = data, tuple(shape), labels

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return check_finite(example_of(self.data[index], self.shape), index)

    @cached_property
    def labels(self) -> Mapping[str, Tensor]:
        """The labels of the items.

        A data set tells them at once by its attribute `labels` or `targets`, or a column. An attribute that differs
        from the labels of some items, as behind a `target_transform`, is not used: all items are then read.
        """
        if self._labels is not None:
            return check_labels(self._labels, len(self))
        data = self.data
        told = getattr(data, "labels", None)
        told = getattr(data, "targets", None) if told is None else told
        if told is None and hasattr(data, "column_names"):
            column = key_of(data.column_names, LABEL_KEYS)
            return check_labels(None if column is None else data[column][:], len(self))
        has_labels = len(data) > 0 and label_of(data[0]) is not None
        if has_labels and (told is None or (not isinstance(told, Mapping) and self._is_transformed(told))):
            told = [label_of(data[index]) for index in range(len(data))]
        return check_labels(told, len(self))

    def _is_transformed(self, told: Any) -> bool:
        """Return whether labels of items differ from those that the data set tells, as far as a few items show it."""
        if getattr(self.data, "target_transform", None) is not None:
            return True
        return any(not np.array_equal(label_of(self.data[i]), told[i]) for i in spread(len(self)))


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
        if group >= len(self._places):  # after the last whole group
            return index + len(self._places)
        chosen = int(self._places[group])
        return group * period + (chosen if self.held_out else place + (place >= chosen))


def hold_out(examples: Any) -> tuple[Any, Any]:
    """Divide examples in two, to learn from and to test or to choose weights by: one of each ten.

    Random windows are divided by pictures or by area (see `Windows.hold_out`), since windows overlap.
    """
    return examples.hold_out() if isinstance(examples, Windows) else (Part(examples, False), Part(examples, True))


def as_splits(
    data: Any, shape: Sequence[int], test: Any = None, labels: Any = None, test_labels: Any = None
) -> DataSplits:
    """Convert data of any kind to training and test examples.

    Args:
        data: a `DataSplits`; the name of a registered data set, a file or a folder, as `load` takes; a tensor or an
            array of examples (N, C, *shape), or (N, *shape) for one channel; a data set of torch or of the library
            datasets, whose items are examples, tuples (example, label, ...) or dicts; or a result of `as_fields`.
        shape: the shape (C, *sites) of an example of the flow.
        test: test data, of one of the kinds above. If None, one of each ten examples is held out.
        labels: class numbers (N,), or contexts of floats (N, ...), in place of those of the training data.
        test_labels: the same of the test data.

    Raises:
        ValueError: if the data is of another kind, such as a pair, which might be data with labels or with a test.
    """
    check_shape(shape, "shape")
    if isinstance(data, Fields):
        return replace(as_splits(data.data, shape, test, labels, test_labels), are_fields=True)
    if test_labels is not None and test is None:
        raise InputError("test_labels= together with test=, whose labels they are", "test_labels alone")
    if isinstance(data, (str, Path)):
        options: dict[str, Any] = {"channels": shape[0]} if takes(data, "channels") else {}
        data = load(data, L=tuple(shape[1:]), **options)
    if isinstance(data, DataSplits):
        if test is not None or labels is not None:
            got = "test=" if test is not None else "labels="
            raise InputError("a data set with a name, a file or DataSplits alone, which has its test and labels", got)
        parts = [_as_examples(part, shape) for part in (data.train, data.test)]
        is_same = parts[0] is data.train and parts[1] is data.test
        return data if is_same else replace(data, train=parts[0], test=parts[1])
    examples = _as_examples(data, shape, labels)
    if test is not None:
        is_field = isinstance(test, Fields)
        test = test.data if isinstance(test, Fields) else test
        return DataSplits(
            "your own data", shape[0], examples, _as_examples(test, shape, test_labels), are_fields=is_field
        )
    if len(examples) < 2:
        raise InputError("at least 2 examples, of which one in ten is held out for the test", str(len(examples)))
    return DataSplits("your own data", shape[0], *hold_out(examples))


def _as_examples(data: Any, shape: Sequence[int], labels: Any = None) -> Any:
    """Convert data of any kind to `Examples`."""
    if isinstance(data, (ArrayDataset, ItemDataset, Part, Windows, WholePictures)) and labels is None:
        return data
    if isinstance(data, (Windows, WholePictures)):
        raise InputError("windows or pictures without labels=, which they have themselves", "labels")
    if isinstance(data, (Tensor, np.ndarray)) or hasattr(data, "to_numpy"):
        array = check_array(data)
        lacks_channels = array.ndim == len(shape) and shape[0] == 1
        return ArrayDataset(array[:, None] if lacks_channels else array, labels)
    if isinstance(data, (tuple, Mapping)):
        got = "a pair or a dict: fit(flow, train, labels=y, test=test, test_labels=test_y), or TensorDataset(x, y)"
        raise InputError("the examples alone, and the test and labels by name", got)
    is_sequence = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if is_sequence and not isinstance(data, (bytes, IterableDataset)):
        return ItemDataset(data, shape, labels)
    raise InputError(
        "examples: a tensor, an array, a data set that can be read in any order, or a name", type(data).__name__
    )


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
    """Say that floats are fields, to be learnt in nats for each variable, whatever they look like.

    `mera.train.fit` refuses floats that look like pixels, and whole numbers, without it.

    Args:
        data: what `mera.train.fit` takes.
    """
    return Fields(data)


def misread_floats(examples: Any, shape: Sequence[int]) -> str:
    """The reason why a few float examples should not be learnt as fields, and the remedy; "" if they may be.

    Pixels in [0, 1], [0, 255] or [-1, 1] belong to bits per dimension. The density of whole numbers, or of few values
    that recur, has no upper bound: a flow learns to be narrow at these values, and nothing else.
    """
    values = torch.cat([examples[i].flatten()[: MAX_LOOKED // 16] for i in spread(len(examples))])
    low, high, is_whole = values.min().item(), values.max().item(), bool((values == values.round()).all())
    pixels = ""
    if low >= 0 and high <= 1:
        found, pixels = "in [0, 1]", "x"
    elif low >= 0 and high <= 255 and (is_whole or (low < 26 and high > 229)):
        found, pixels = f"from {low:g} to {high:g}", "x / 255"
    elif -1 <= low < -0.98 and 0.98 < high <= 1 and not is_whole:
        found, pixels = "in [-1, 1]", "(x + 1) / 2"
    if pixels and len(shape) == 3 and shape[0] in (1, 3) and low < high:
        learn = f"learn mera.data.as_images({pixels}) in bits per dimension"
        learn += f", or mera.data.as_fields(x) if they are fields; of a file {OPTION}=images or {OPTION}=fields"
        return f"floats {found} in the shape of images: {learn}"
    found, noise = "that are all whole numbers", "x + torch.rand_like(x)"
    if not is_whole:
        number = len(values.unique())
        found, noise = f"of only {number} different values", "x with uniform noise as wide as the steps between them"
    overlap = hasattr(examples, "pictures")  # windows of one image share its values
    if low == high or not (is_whole or (number < min(MAX_RECURRING, len(values) / 4) and not overlap)):
        return ""
    unbounded = "a density of which has no upper bound"
    same = f"mera.data.as_fields(x) to learn them all the same; of a file {OPTION}=fields"
    return f"floats {found}, {unbounded}: learn {noise}, or {same}"
