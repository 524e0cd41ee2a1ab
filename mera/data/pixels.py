"""Pixels of any dtype as uint8 images, and fields that look like pixels but are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.errors import InputError
from mera.data.gate import check_array
from mera.data.items import example_of

BRIGHTEST = {torch.uint16: 65535, torch.bool: 1}
"""The largest value of a pixel by dtype; 255 for other integers, 1 for floats."""


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


class Images(Dataset):
    """The examples of a data set as uint8 images, with its labels."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        try:
            return as_images(example_of(self.data[index])[None])[0]
        except InputError as error:
            raise InputError(error.expected, error.got, where=f"example {index}") from None

    @cached_property
    def labels(self) -> Mapping[str, Tensor]:
        """The labels of the data, by name."""
        from mera.data.examples import ItemDataset

        return ItemDataset(self.data, ()).labels


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
