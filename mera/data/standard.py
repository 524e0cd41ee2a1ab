"""Data sets of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mera.data.dataset import ArrayDataset, DataMissingError, DataSplits, Edges, edges, register, resize
from mera.data.examples import ItemDataset


def open_split(make: Callable[..., Any], name: str, folder: Path, download: bool) -> Any:
    """Open a torchvision data set; a `DataMissingError` says what to do if files are missing or cannot be fetched."""
    try:
        return make(download=download)
    except PermissionError:
        raise
    except (RuntimeError, OSError) as error:
        if download:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no reason'])[0]}"
            advice = f"Is there a network? Otherwise put its files into {folder}."
            raise DataMissingError(f"Expected to download {name}; got {reason}. {advice}") from error
        advice = "Put its files there, or let them be downloaded (download=True, or --download)."
        raise DataMissingError(f"Expected {name} in {folder}; got nothing there, or only parts. {advice}") from error


def _small(name: str, folder: str, kind: str, channels: int, L: Edges, root: Path, download: bool) -> DataSplits:
    """Both splits of a data set that fits in memory, with their classes as labels; `kind` is a class of torchvision."""
    from torchvision import datasets

    splits = []
    for train in (True, False):
        data = open_split(partial(getattr(datasets, kind), root, train=train), name, root / folder, download)
        images = torch.as_tensor(data.data)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        splits.append(ArrayDataset(resize(images.contiguous(), L), {"class": torch.as_tensor(data.targets)}))
    classes = tuple(text.split(" - ")[-1] for text in data.classes)  # MNIST has "0 - zero"
    return DataSplits(name, channels, *splits, classes=classes)


for name, folder, kind, channels in (
    ("mnist", "MNIST/raw", "MNIST", 1),
    ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", 1),
    ("cifar10", "cifar-10-batches-py", "CIFAR10", 3),
):
    register(name)(partial(_small, name, folder, kind, channels))


@register("celeba")
def celeba(L: Edges, root: Path, download: bool) -> DataSplits:
    """Aligned faces, as in App. A of https://arxiv.org/abs/2010.00029.

    The 148 x 148 pixels at the centre are cropped to the aspect ratio of the lattice and resized. Training images are
    flipped left to right at random.

    Args:
        L: edge of the images, or height and width.
        root: the folder that has the folder "celeba".
        download: download missing files.
    """
    from torchvision import datasets
    from torchvision.transforms import v2 as transforms

    steps = [transforms.PILToTensor(), transforms.CenterCrop(148), transforms.Lambda(partial(resize, L=L))]
    splits = []
    for split, added in (("train", [transforms.RandomHorizontalFlip()]), ("test", [])):
        transform = transforms.Compose([*steps, *added])
        make = partial(datasets.CelebA, root, split=split, target_type=[], transform=transform)
        splits.append(ItemDataset(open_split(make, "celeba", root / "celeba", download), (3, *edges(L))))
    return DataSplits("celeba", 3, *splits)
