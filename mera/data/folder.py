"""Data sets of image files in a folder, which are split so that parts of one photograph can stay together."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_choice, check_flag
from mera._utils.errors import InputError
from mera.data.dataset import HELD_OUT, DataMissingError, DataSplits, Edges, largest_crop, register, resize
from mera.data.items import pixels_of

SUFFIXES = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)
CROPS = ("centre", "random")
MIN_CROP_AREA = 0.5
"""The smallest area of a random crop, as a fraction of the area of the largest crop."""
PARTS = 2, 100
"""The range of the mean number of files whose names begin alike, for which a warning is given."""
PART_NUMBER = re.compile(r"[\W_]*(crop|patch|tile|part)?[\W_]*\d+$", re.IGNORECASE)
"""The end of the name of a part, as in photo_crop3."""
UP_TO_UNDERSCORE = "^.*_"
"""The path of a file up to the last underscore."""


class ImageFiles(Dataset):
    """Image files, cropped to the aspect ratio of the lattice and resized.

    An item whose file cannot be read raises a `ValueError` with the name of the file.

    Args:
        L: edge of the images, or height and width.
        channels: 1 for grey images, 3 for colour.
        crop: "centre" for the largest crop at the centre; "random" for a new random crop at each access.
        flip: whether images are flipped left to right at random.
        labels: labels by name; see `mera.data.Examples`.
    """

    def __init__(
        self,
        files: list[Path],
        L: Edges,
        channels: int,
        crop: str = "centre",
        flip: bool = False,
        labels: dict[str, Tensor] | None = None,
    ) -> None:
        self.files, self.L, self.channels, self.crop, self.flip = files, L, channels, crop, flip
        self.labels = labels or {}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        pixels = read_image(self.files[index], self.channels)
        pixels = random_cut(pixels, self.L) if self.crop == "random" else resize(pixels, self.L)
        return pixels.flip(-1) if self.flip and torch.rand(()) < 0.5 else pixels


def read_image(path: Path, channels: int) -> Tensor:
    """Read an image file as uint8 (channels, H, W): 1 channel for grey, 3 for colour."""
    if not path.is_file():
        raise InputError(f"an image in {path}", "no such file")
    try:
        with Image.open(path) as image:
            return pixels_of(image, channels)
    except Exception as error:  # decoders raise any error for bytes that are not an image
        raise InputError(f"an image in {path}", f"a file that cannot be read: {error}") from error


def read_reduced(file: Path | BinaryIO, scale: int, channels: int) -> np.ndarray:
    """Read an image file as uint8 (channels, H, W), upright, with at most `scale` pixels along the longer edge.

    Transparent pixels are shown on white.
    """
    with Image.open(file) as opened:
        opened.draft(None, (2 * scale, 2 * scale))  # a JPEG is decoded at a half, a quarter, ...
        image: Image.Image = opened
        if "A" in image.getbands() or "transparency" in image.info:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        pixels = pixels_of(image, channels).movedim(0, -1).numpy()
    small = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    small.thumbnail((scale, scale), Image.Resampling.LANCZOS)
    return np.array(np.atleast_3d(np.asarray(small)).transpose(2, 0, 1), order="C")


def random_cut(pixels: Tensor, L: Edges) -> Tensor:
    """A random crop with the aspect ratio of the lattice and at least half the area of the largest crop, resized."""
    size = tuple(pixels.shape[-2:])
    share = MIN_CROP_AREA**0.5 + (1 - MIN_CROP_AREA**0.5) * float(torch.rand(()))
    height, width = (max(1, round(share * edge)) for edge in largest_crop(size, L))
    top, left = (int(torch.randint(0, n - edge + 1, ())) for n, edge in zip(size, (height, width), strict=True))
    return resize(pixels[:, top : top + height, left : left + width], L)


@register("folder")
def folder(
    L: Edges,
    root: Path,
    download: bool,
    channels: int = 3,
    crop: str = "centre",
    flip: bool = False,
    groups: str | None = None,
) -> DataSplits:
    """All images below a folder, sub-folders included.

    If the folder has sub-folders `train` and `test`, they are the splits. Otherwise every tenth file, by name, is a
    test image; with `groups`, every tenth group of files. If all images lie in sub-folders (of `train` and `test`, or
    of the folder itself), the names of the sub-folders are the classes, numbered by name.

    Args:
        L: edge of the images, or height and width.
        root: the folder.
        download: not used: there is nothing to download.
        channels: 3 to read images in colour, 1 to read images in grey.
        crop: the crop, with the aspect ratio of the lattice: "centre" for the largest crop, at the centre; or "random"
            for a new random crop of training images at each access, with at least half the area.
        flip: whether training images are flipped left to right at random.
        groups: files that stay in one split, so that no photograph is in both splits: "folder" for the files of one
            folder; or a regular expression, whose match in the path of a file below `root` is the name of its group.
    """
    if channels not in (1, 3):
        raise InputError("1 or 3 channels of a folder of images", str(channels))
    check_choice(crop, CROPS, "a crop")
    check_flag(flip, "flip")
    if (root / "train").is_dir() and (root / "test").is_dir():
        if groups is not None:
            raise InputError("no groups where sub-folders train and test are the splits", f"groups={groups!r}")
        tops = root / "train", root / "test"
        splits = [image_files(top) for top in tops]
    else:
        tops = root, root
        splits = list(split_files(image_files(root), root, groups))
    if not all(splits):
        counts = " and ".join(str(len(split)) for split in splits)
        raise DataMissingError(
            f"Expected images below {root} for training and test; got {counts}. "
            f"Put at least ten images there, or some in each of {root / 'train'} and {root / 'test'}."
        )
    folders = [[file.relative_to(top).parts[:-1] for file in split] for split, top in zip(splits, tops, strict=True)]
    names = _class_names(folders[0] + folders[1])
    numbers = {name: number for number, name in enumerate(names)}
    labels = [{"class": torch.tensor([numbers[f[0]] for f in split])} if names else {} for split in folders]
    train = ImageFiles(splits[0], L, channels, crop, flip, labels[0])
    return DataSplits("folder", channels, train, ImageFiles(splits[1], L, channels, labels=labels[1]), classes=names)


def _class_names(folders: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The sorted names of the topmost sub-folders, if every file is in a sub-folder and there are at least two."""
    if not all(folders):
        return ()
    names = sorted({folder[0] for folder in folders})
    return tuple(names) if len(names) > 1 else ()


def image_files(root: Path) -> list[Path]:
    """The image files below a folder, by name."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def split_files(files: list[Path], root: Path, groups: str | None = None) -> tuple[list[Path], list[Path]]:
    """Training and test files: every tenth group, in the order of the files, is for the test.

    Args:
        root: the folder that contains all files.
        groups: None if each file is a group; "folder" if the files of a folder are; or a regular expression, whose
            match in the path of a file below `root` is the name of its group.
    """
    if groups is None:
        _warn_of_parts([file.stem for file in files])
        names = [str(file) for file in files]
    else:
        names = [_group(file.relative_to(root), groups) for file in files]
    order = list(dict.fromkeys(names))
    if groups is not None and len(order) < 2 and files:
        raise InputError(f"at least 2 groups of files by groups={groups!r}", f"1, {order[0]!r}")
    period = HELD_OUT if groups is None else min(HELD_OUT, max(len(order), 1))
    held_out = set(order[period - 1 :: period])
    train = [file for file, name in zip(files, names, strict=True) if name not in held_out]
    return train, [file for file, name in zip(files, names, strict=True) if name in held_out]


def _group(path: Path, groups: str) -> str:
    """The name of the group of a file."""
    if groups == "folder":
        return str(path.parent)
    try:
        match = re.search(groups, path.as_posix())
    except re.error as error:
        raise InputError('groups as "folder" or a regular expression', f"{groups!r}: {error}") from None
    if match is None:
        raise InputError(f"groups={groups!r} to match a part of each path", str(path))
    return match[0]


def _warn_of_parts(stems: list[str]) -> None:
    """Warn if names such as a_1, a_2, b_1 suggest that several files are parts of one photograph."""
    beginnings = [PART_NUMBER.sub("", stem) for stem in stems if PART_NUMBER.search(stem)]
    counts = Counter(beginnings)
    mean = len(beginnings) / max(1, len(counts))
    if len(counts) > 1 and len(beginnings) > len(stems) / 2 and PARTS[0] <= mean <= PARTS[1]:
        beginning, number = counts.most_common(1)[0]
        warnings.warn(
            f"Every tenth file is for the test, but the names of {number} files begin with {beginning!r}. If they show "
            'one thing, they belong in one split: groups="folder", or groups= a regular expression, such as '
            f"{UP_TO_UNDERSCORE!r} for files whose names agree up to the last underscore",
            stacklevel=5,
        )
