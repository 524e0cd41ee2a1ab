"""Data sets of photographs for benchmarks: pictures of packages of Debian, and of packages of PyPI.

Importing this file registers them, for `mera.data.load` and the command line:

    mera --import benchmarks/photo_data.py train rgflow --data wallpapers --out run
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from mera.data import ArrayDataset, DataMissingError, DataSplits, Edges, register
from mera.data.dataset import edges
from mera.data.picture_files import read_picture
from mera.data.random_windows import Windows, whole
from mera.data.sources import Source

TRAIN_PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "motorcycle_left", "china")
TEST_PHOTOGRAPHS = ("chelsea", "flower")
FOLDER = Path("usr/share")
TEST_PACKAGE = "lomiri-wallpapers-16.04"
PACKAGES = {
    "budgie-backgrounds": "backgrounds/budgie/*.jpg",
    "palapeli-data": "palapeli/collection/*.jpg",
    "plasma-workspace-wallpapers": "wallpapers/*/contents/images/2560x1600.jpg",
    TEST_PACKAGE: "backgrounds/*_by_*.jpg",
}
"""The files of each package, below `FOLDER`; the last package is for the test, and all others are for training."""
OTHERS = ("FlyingKonqui", "PastelHills", "Fossa", "Infinite-Sea", "Kleiber", "Painting-Colors")
"""Files with such names are drawings, or belong to another package whose files lie beside those of the test."""


@register("photographs")
def photographs(L: Edges) -> DataSplits:
    """Random windows of five colour photographs, from the packages scikit-image and scikit-learn; tiles of two others.

    Args:
        L: edge of the windows and tiles, or height and width.
    """
    train = Windows([whole(Source(_photograph(name), name=name)) for name in TRAIN_PHOTOGRAPHS], L, flip=True)
    height, width = edges(L)
    tiles = [_photograph(name).unfold(1, height, height).unfold(2, width, width) for name in TEST_PHOTOGRAPHS]
    tiles = [tile.permute(1, 2, 0, 3, 4).reshape(-1, 3, height, width) for tile in tiles]
    numbers = torch.cat([torch.full((len(tile),), number) for number, tile in enumerate(tiles)])
    return DataSplits("photographs", 3, train, ArrayDataset(torch.cat(tiles), {"picture": numbers}))


def _photograph(name: str) -> torch.Tensor:
    """A photograph, (3, H, W) uint8."""
    module, distribution, folder = ("skimage", "scikit-image", "data")
    if name in ("china", "flower"):
        module, distribution, folder = ("sklearn", "scikit-learn", "datasets/images")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise DataMissingError(f"Expected pictures of the package {distribution}: pip install {distribution}")
    return read_picture(next((Path(spec.origin).parent / folder).glob(f"{name}.*")))


class EvenWindows(Windows):
    """Windows at random places of images of any size, as many of each image; the same places for the same seed.

    Args:
        images: the images, (C, H, W) uint8.
        L: edge of the windows, or height and width.
        each: the number of windows of an image.
        seed: the seed of the places.
        options: `flip` and `colours` of `Windows`.
    """

    def __init__(self, images: Sequence[torch.Tensor], L: Edges, each: int, seed: int = 0, **options: bool) -> None:
        n = len(images) * each
        parts = [whole(Source(image, name=f"photograph {i}")) for i, image in enumerate(images)]
        super().__init__(parts, L, n, seed, **options)
        self.ends = list(range(each, n + 1, each))
        self.pictures = torch.arange(len(images)).repeat_interleave(each)
        generator = torch.Generator().manual_seed(seed)
        spare = [[n - edge + 1 for n, edge in zip(part.size, self.size, strict=True)] for part in self.parts]
        self.places = torch.cat(
            [torch.stack([torch.randint(n, (each,), generator=generator) for n in row], 1) for row in spare]
        )

    def _corner(self, index: int, counts: Sequence[int]) -> Sequence[int]:
        return self.places[index].tolist()


@register("wallpapers")
def wallpapers(
    L: Edges, root: Path, train_windows: int = 3000, test_windows: int = 60, longest: int = 960, flip: bool = True,
    colours: bool = False, packages: Sequence[str] = tuple(PACKAGES)[:-1], scales: Sequence[float] = (1.0,),
) -> DataSplits:  # fmt: skip
    """Random windows of 35 colour photographs for training, and of 15 photographs of other people for the test.

    The photographs come from Debian packages with free licences: budgie-backgrounds (CC0 1.0), palapeli-data and
    plasma-workspace-wallpapers (GPL 2 or later), and for the test lomiri-wallpapers-16.04 (CC0 1.0, CC BY 4.0 or CC
    BY-SA 4.0). They are searched for in `/usr/share`, where `apt install` puts them, and in `ROOT/usr/share`, where
    `dpkg -x PACKAGE.deb ROOT` unpacks them. `pictures` has the number of the photograph of each window.

    Args:
        L: edge of the windows, or height and width.
        root: the folder of unpacked packages.
        train_windows: the number of windows of a training photograph.
        test_windows: the number of windows of a test photograph.
        longest: the longer edge of a photograph in pixels, to which it is reduced first.
        flip: whether training windows are flipped left to right at random.
        colours: whether the channels of every second training window are permuted at random: with few photographs, a
            flow meets colours in the test that it has never seen.
        packages: the packages of the training photographs.
        scales: multiples of `longest` to which training photographs are reduced, each a photograph of its own.
    """
    files = [file for package in packages for file in photographs_of(package, root)]
    train = [read_picture(file, 3, int(scale * longest)) for scale in scales for file in files]
    test = [read_picture(file, 3, longest) for file in photographs_of(TEST_PACKAGE, root)]
    learnt = EvenWindows(train, L, train_windows, flip=flip, colours=colours)
    return DataSplits("wallpapers", 3, learnt, EvenWindows(test, L, test_windows, seed=1))


def photographs_of(package: str, root: Path) -> list[Path]:
    """The photographs of a package, by name."""
    for folder in (root / FOLDER, Path("/") / FOLDER):
        files = [file for file in sorted(folder.glob(PACKAGES[package])) if not any(o in str(file) for o in OTHERS)]
        if files:
            return files
    raise DataMissingError(
        f"Expected photographs of the Debian package {package} in /{FOLDER} or {root / FOLDER}; got none. "
        f"Install it, or unpack it there: apt download {package}; dpkg -x {package}_*.deb {root}"
    )
