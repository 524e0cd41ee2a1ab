"""Files of pictures: how one is read, which lie in a folder, and which of them are for the test."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.files import reading
from mera.data.dataset import HELD_OUT, DataMissingError
from mera.data.items import opened, pixels_of

SUFFIXES = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)
"""The suffixes of pictures that PIL reads."""
PARTS = 2, 100
"""The range of the mean number of files whose names begin alike, for which a warning is given."""
PART_NUMBER = re.compile(r"[\W_]*(crop|patch|tile|part)?[\W_]*\d+$", re.IGNORECASE)
"""The end of the name of a part, as in photo_crop3."""


def read_picture(file: Path | BinaryIO, channels: int | None = 3, longest: int | None = None) -> Tensor:
    """Read a picture as uint8 (channels, H, W), upright by its EXIF orientation, on white where it is transparent.

    16 bits are scaled to 8. PIL refuses pictures of more than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels, 179 million. A
    TIFF file whose first two pages have one size is a stack, and refused; of other files the first page is read.

    Args:
        file: the file.
        channels: 1 for grey, 3 for colour; None for grey if the picture has no colours.
        longest: the most pixels along the longer edge, to which the picture is reduced; None for all pixels.

    Raises:
        ValueError: if the file does not exist, or cannot be read as a picture; the message names the file.
    """
    if isinstance(file, Path) and not file.is_file():
        raise InputError(f"a picture in {file}", "a folder" if file.is_dir() else "no such file")
    with reading(file, "a picture"), opened(file) as image:
        if image.format == "TIFF" and (pages := getattr(image, "n_frames", 1)) > 1:
            size = image.size
            image.seek(1)
            if image.size == size:
                raise InputError("one picture, or one page of the stack as an array", f"{pages} pages of one size")
            image.seek(0)
        if longest is not None:
            image.draft(None, (2 * longest, 2 * longest))  # a JPEG is decoded at a half, a quarter, ...
        pixels = pixels_of(image, channels)
    return pixels if longest is None else reduced(pixels, longest)


def reduced(pixels: Tensor, longest: int) -> Tensor:
    """An image (C, H, W) uint8 with at most `longest` pixels along the longer edge."""
    height, width = pixels.shape[1:]
    if max(height, width) <= longest:
        return pixels
    image = Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.movedim(0, -1).numpy())
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return pixels_of(image, len(pixels))


class Listed(NamedTuple):
    """The pictures of a folder.

    Args:
        train: files to learn from, by name.
        test: files for the test, by name.
        classes: the names of the classes, the topmost sub-folders, sorted; empty if some file lies in no sub-folder.
        numbers: for each training and each test file the number of its class.
        names: the paths of the test files below the folder.
        divided: whether sub-folders `train` and `test` are the splits.
    """

    train: list[Path]
    test: list[Path]
    classes: tuple[str, ...]
    numbers: tuple[list[int], list[int]]
    names: list[str]
    divided: bool


def list_pictures(root: Path, groups: str | None = None, arrays: bool = False) -> Listed:
    """List the pictures below a folder, and divide them.

    If the folder has sub-folders `train` and `test`, they are the splits. Otherwise a picture is for the test if a hash
    of its path below the folder, or of its group, is in the lowest tenth, so that adding or renaming a picture moves no
    other; if none is, the one of the lowest hash. Each class is divided. Links to one file count once.

    Args:
        root: the folder.
        groups: "folder" to keep the files of one folder in one split; None to divide file by file.
        arrays: whether files .npy are listed, too.

    Raises:
        DataMissingError: if the folder has no pictures.
    """
    suffixes = SUFFIXES | {".npy"} if arrays else SUFFIXES
    divided = (root / "train").is_dir() and (root / "test").is_dir()
    if groups is not None:
        check_choice(groups, ("folder",), "groups")
    if divided and groups is not None:
        raise InputError("no groups where sub-folders train and test are the splits", f"groups={groups!r}")
    tops = (root / "train", root / "test") if divided else (root,)
    seen: set[Path] = set()
    splits = [_below(top, suffixes, seen) for top in tops]
    if not all(splits):
        raise DataMissingError(f"Expected pictures below {' and '.join(map(str, tops))}; got none")
    folders = [file.relative_to(top).parts[:-1] for top, files in zip(tops, splits, strict=True) for file in files]
    names = sorted({folder[0] for folder in folders}) if all(folders) else []
    classes = tuple(names) if len(names) > 1 else ()
    if not divided:
        splits = list(_divided(splits[0], root, groups, bool(classes)))
        tops = root, root
    numbers = [
        [classes.index(file.relative_to(top).parts[0]) for file in files] if classes else []
        for top, files in zip(tops, splits, strict=True)
    ]
    paths = [file.relative_to(root).as_posix() for file in splits[1]]
    return Listed(splits[0], splits[1], classes, (numbers[0], numbers[1]), paths, divided)


def _below(top: Path, suffixes: frozenset[str], seen: set[Path]) -> list[Path]:
    """The files of some suffixes below a folder by name, each once."""
    images, pending = [], [top] if top.is_dir() else []
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if path.is_dir():
                pending += [] if path.is_symlink() else [path]
            elif path.suffix.lower() in suffixes and (real := path.resolve()) not in seen:
                seen.add(real)
                images.append(path)
    return sorted(images)


def _divided(files: list[Path], root: Path, groups: str | None, by_class: bool) -> tuple[list[Path], list[Path]]:
    """Training and test files; see `list_pictures`."""
    paths = [file.relative_to(root) for file in files]
    if groups is None:
        _warn_of_parts([path.stem for path in paths])
    keys = [path.as_posix() if groups is None else str(path.parent) for path in paths]
    kinds = [path.parts[0] if by_class and groups is None else "" for path in paths]
    tested: set[str] = set()
    for kind in set(kinds):
        of_kind = {key for key, own in zip(keys, kinds, strict=True) if own == kind}
        hashes = sorted((int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) / 16**12, key) for key in of_kind)
        if len(hashes) < 2 and groups is not None:
            raise InputError("at least 2 folders of files", f"1, {hashes[0][1]!r}")
        few = max(1, sum(value < 1 / HELD_OUT for value, _ in hashes))
        tested |= {key for _, key in hashes[: min(few, len(hashes) - 1)]}
    learnt = [file for file, key in zip(files, keys, strict=True) if key not in tested]
    return learnt, [file for file, key in zip(files, keys, strict=True) if key in tested]


def _warn_of_parts(stems: list[str]) -> None:
    """Warn if names such as a_1, a_2, b_1 suggest that several files are parts of one photograph."""
    beginnings = [PART_NUMBER.sub("", stem) for stem in stems if PART_NUMBER.search(stem)]
    counts = Counter(beginnings)
    mean = len(beginnings) / max(1, len(counts))
    if len(counts) > 1 and len(beginnings) > len(stems) / 2 and PARTS[0] <= mean <= PARTS[1]:
        beginning, number = counts.most_common(1)[0]
        warnings.warn(
            f"One file in ten is for the test, but the names of {number} files begin with {beginning!r}. If they show "
            'one thing, they belong in one split: give them a folder of their own, and pass groups="folder"',
            stacklevel=6,
        )


def check_channels(channels: int | None) -> int | None:
    """Return a number of channels of pictures, 1, 3 or None, and refuse any other."""
    if channels not in (None, 1, 3):
        raise InputError("1 or 3 channels of pictures", str(channels))
    return channels
