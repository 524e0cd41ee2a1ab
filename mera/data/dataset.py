"""What every data set is: named splits of 8-bit images on an L x L lattice, and the registry of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mera._utils.checks import is_integer
from mera._utils.registry import Registry

__all__ = [
    "DataMissingError",
    "ImageData",
    "ImageSet",
    "Images",
    "first",
    "labels",
    "load",
    "names",
    "register",
    "resize",
]


class DataMissingError(FileNotFoundError):
    """A data set that is not on this machine; the message says where to put it or how to download it."""


class ImageSet(Protocol):
    """A split: images (channels, L, L) uint8, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class Images(Dataset):
    """Images held in memory.

    Args:
        images: (N, C, L, L) uint8.
        labels: each (N, ...), by name.
    """

    def __init__(self, images: Tensor, labels: dict[str, Tensor] | None = None) -> None:
        self.images = images
        self.labels = labels or {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]

    def __getitems__(self, indices: list[int]) -> Tensor:
        """A whole batch at once, as loaders ask for."""
        return self.images[torch.as_tensor(indices)]


@dataclass(frozen=True)
class ImageData:
    """A data set of two splits.

    Args:
        name: its name.
        channels: 1 for grey, 3 for colour.
        train, test: data sets whose items are (channels, L, L) uint8.
    """

    name: str
    channels: int
    train: ImageSet
    test: ImageSet


_loaders: Registry[Callable[..., ImageData]] = Registry("a data set")
register = _loaders.register
"""Let `load(name)` call the decorated function with `L`, `root`, `download` and the options that it has."""


def names() -> list[str]:
    """Every name that `load` accepts."""
    return _loaders.names()


def load(name: str, L: int = 32, root: str | Path = "data", download: bool = False, **options: Any) -> ImageData:
    """A data set by name, both splits, resized to L x L.

    Args:
        name: one of `names()`.
        L: edge of the images.
        root: where the files are, or where they go; for "folder", the folder itself.
        download: fetch what is missing, where that is possible.
        options: as the set's own function documents them.

    Raises:
        ValueError: if the name or an option is unknown.
        DataMissingError: if the files are not there; the message says what to do.
    """
    function = _loaders.get(name)
    _loaders.check_options(name, options)
    if not is_integer(L) or L < 1:
        raise ValueError(f"Expected L as a positive integer; got {L!r}")
    return function(L=L, root=Path(root), download=download, **options)


def first(images: ImageSet, n: int) -> Tensor:
    """The first `n` images, or all if there are fewer, as one tensor (n, C, L, L)."""
    return torch.stack([images[i] for i in range(min(n, len(images)))])


def labels(images: ImageSet, name: str = "class") -> Tensor:
    """What a set says of its images under a name: class numbers (N,), or anything (N, ...) in memory.

    Raises:
        ValueError: if it says nothing of that name.
    """
    known: dict[str, Tensor] = getattr(images, "labels", {})
    if name not in known:
        raise ValueError(f"Expected images with labels {name!r}; got {', '.join(known) or 'none'}")
    return known[name]


def resize(images: Tensor, L: int) -> Tensor:
    """Images (..., C, H, W) uint8 on L x L, bicubic and antialiased."""
    if images.shape[-2:] == (L, L):
        return images
    return F.resize(images, [L, L], interpolation=InterpolationMode.BICUBIC, antialias=True)
