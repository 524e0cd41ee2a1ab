"""What every data set is: named splits of 8-bit images on an L x L lattice, and the registry of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

__all__ = ["DataMissingError", "ImageData", "Images", "load", "names", "register", "resize"]


class DataMissingError(FileNotFoundError):
    """A data set that is not on this machine; the message says where to put it or how to download it."""


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
        """A whole batch at once."""
        return self.images[torch.as_tensor(indices)]


@dataclass(frozen=True)
class ImageData:
    """A data set.

    Args:
        name: its name.
        channels: 1 for grey, 3 for colour.
        train, test: data sets whose items are (channels, L, L) uint8.
    """

    name: str
    channels: int
    train: Any
    test: Any


Loader = Callable[..., ImageData]
_loaders: dict[str, Loader] = {}


def register(name: str) -> Callable[[Loader], Loader]:
    """Let `load(name)` call the decorated function with `L`, `root`, `download` and further options."""

    def decorate(function: Loader) -> Loader:
        _loaders[name] = function
        return function

    return decorate


def names() -> list[str]:
    """Every name that `load` accepts."""
    return list(_loaders)


def load(name: str, L: int = 32, root: str | Path = "data", download: bool = False, **options: Any) -> ImageData:
    """A data set by name, both splits, resized to L x L.

    Args:
        name: one of `names()`.
        L: edge of the images.
        root: where the files are, or where they go; for "folder", the folder itself.
        download: fetch what is missing, where that is possible.
        options: as the set's own function documents them.

    Raises:
        ValueError: if the name is unknown.
        DataMissingError: if the files are not there; the message says what to do.
    """
    if name not in _loaders:
        raise ValueError(f"Expected a data set among {names()}; got {name!r}")
    return _loaders[name](L=L, root=Path(root), download=download, **options)


def resize(images: Tensor, L: int) -> Tensor:
    """Images (..., C, H, W) uint8 on L x L, bicubic and antialiased."""
    if images.shape[-2:] == (L, L):
        return images
    return F.resize(images, [L, L], interpolation=InterpolationMode.BICUBIC, antialias=True)
