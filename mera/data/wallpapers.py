"""Random windows of photographs that Debian packages as wallpapers: enough natural images to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mera._utils.checks import check_count
from mera.data.dataset import DataMissingError, DataSplits, Edges, register
from mera.data.random_windows import Windows, whole
from mera.data.sources import Source

FOLDER = Path("usr/share/backgrounds")
PACKAGES = {"budgie-backgrounds": "budgie/*.jpg", "lomiri-wallpapers-16.04": "*_by_*.jpg"}
"""The files of each package, below `FOLDER`; the first package is for training, the second for the test."""


class EvenWindows(Windows):
    """Windows at random places of images of any size, as many of each image; the same places for the same seed.

    Args:
        images: the images, (C, H, W) uint8.
        L: edge of the windows, or height and width.
        each: the number of windows of an image.
        seed: the seed of the places.
        flip: whether a window is flipped left to right at random at each access.

    Raises:
        ValueError: if a window does not fit into an image.
    """

    def __init__(self, images: Sequence[Tensor], L: Edges, each: int, seed: int = 0, flip: bool = False) -> None:
        n = len(images) * check_count(each, "a number of windows")
        super().__init__(
            [whole(Source(image, name=f"photograph {i}")) for i, image in enumerate(images)], L, n, seed, flip
        )
        self.ends = list(range(each, n + 1, each))
        self.labels = {"photograph": torch.arange(len(images)).repeat_interleave(each)}
        generator = torch.Generator().manual_seed(seed)
        spare = [[n - edge + 1 for n, edge in zip(part.size, self.size, strict=True)] for part in self.parts]
        self.places = torch.cat(
            [torch.stack([torch.randint(n, (each,), generator=generator) for n in row], 1) for row in spare]
        )

    def _corner(self, index: int, counts: Sequence[int]) -> Sequence[int]:
        return self.places[index].tolist()


@register("wallpapers")
def wallpapers(
    L: Edges, root: Path, train_windows: int = 3000, test_windows: int = 60, longest: int = 960, flip: bool = True
) -> DataSplits:
    """Random windows of 18 colour photographs for training, and of 15 photographs of other people for the test.

    The photographs come from the Debian packages budgie-backgrounds and lomiri-wallpapers-16.04, with free licences:
    CC0 1.0, and CC0 1.0, CC BY 4.0 or CC BY-SA 4.0. They are searched for in `/usr/share/backgrounds`, where `apt
    install` puts them, and in `ROOT/usr/share/backgrounds`, where `dpkg -x PACKAGE.deb ROOT` unpacks them. The label
    "photograph" is the number of the photograph within its split.

    Args:
        L: edge of the windows, or height and width.
        root: the folder of unpacked packages.
        train_windows: the number of windows of a training photograph.
        test_windows: the number of windows of a test photograph.
        longest: the longer edge of a photograph in pixels, to which it is reduced first.
        flip: whether training windows are flipped left to right at random.

    Raises:
        ValueError: if a window does not fit into each photograph.
        DataMissingError: if a package is not installed.
    """
    check_count(longest, "the longer edge")
    train, test = (
        [_reduced(file, longest) for file in _files(package, pattern, root)] for package, pattern in PACKAGES.items()
    )
    return DataSplits(
        "wallpapers", 3, EvenWindows(train, L, train_windows, flip=flip), EvenWindows(test, L, test_windows, seed=1)
    )


def _files(package: str, pattern: str, root: Path) -> list[Path]:
    """The photographs of a package, by name."""
    for folder in (root / FOLDER, Path("/") / FOLDER):
        if files := sorted(folder.glob(pattern)):
            return files
    raise DataMissingError(
        f"Expected photographs of the Debian package {package} in /{FOLDER} or {root / FOLDER}; got none. "
        f"Install it, or unpack it there: apt download {package}; dpkg -x {package}_*.deb {root}"
    )


def _reduced(file: Path, longest: int) -> Tensor:
    """A photograph whose longer edge has at most `longest` pixels, (3, H, W) uint8."""
    with Image.open(file) as image:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).contiguous()
