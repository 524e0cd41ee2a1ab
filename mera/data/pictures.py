"""Pictures of a folder: windows at random places, or whole pictures, cropped and resized."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_choice, check_count, check_flag
from mera._utils.errors import InputError
from mera._utils.files import as_path, write_atomically
from mera.data.dataset import DataMissingError, DataSplits, Edges, edges, largest_crop, register, resize
from mera.data.fingerprint import digest, digest_of_files
from mera.data.picture_files import Listed, check_channels, list_pictures, read_picture
from mera.data.random_windows import Windows, whole, windows
from mera.data.sources import Npy, Source, open_image

CROPS = ("windows", "centre", "random")
MIN_CROP_AREA = 0.5
"""The smallest area of a random crop, as a fraction of the area of the largest crop."""
MAX_LISTED = 10
"""The most files that a message lists."""


class WholePictures(Dataset):
    """Pictures of files, cropped to the aspect ratio of the lattice and resized.

    An item whose file cannot be read raises a `ValueError` with the name of the file. The arguments are those of the
    data set "pictures", and `labels` those of `mera.data.Examples`.
    """

    def __init__(
        self, files: list[Path], L: Edges, channels: int, crop: str = "centre", flip: bool = False,
        labels: dict[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.files, self.L, self.channels, self.crop, self.flip = files, L, channels, crop, flip
        self.labels = labels or {}
        self.names: list[str] | None = None  # of files, for a fingerprint

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        pixels = read_picture(self.files[index], self.channels)
        pixels = random_cut(pixels, self.L) if self.crop == "random" else resize(pixels, self.L)
        return pixels.flip(-1) if self.flip and torch.rand(()) < 0.5 else pixels

    @cached_property
    def identity(self) -> str:
        """A digest that tells data sets of pictures apart; see `mera.data.fingerprint`."""
        return digest(
            [digest_of_files(self.files).encode(), repr((self.L, self.channels, self.crop, self.flip)).encode()]
        )


def random_cut(pixels: Tensor, L: Edges) -> Tensor:
    """A random crop with the aspect ratio of the lattice and at least half the area of the largest crop, resized."""
    size = tuple(pixels.shape[-2:])
    share = MIN_CROP_AREA**0.5 + (1 - MIN_CROP_AREA**0.5) * float(torch.rand(()))
    height, width = (max(1, round(share * edge)) for edge in largest_crop(size, L))
    top, left = (int(torch.randint(0, n - edge + 1, ())) for n, edge in zip(size, (height, width), strict=True))
    return resize(pixels[:, top : top + height, left : left + width], L)


@register("pictures")
def pictures(
    L: Edges, root: Path, crop: str = "windows", scale: int | None = 960, channels: int | None = None,
    flip: bool = True, turn: bool = False, colours: bool = False, test_windows: int = 500, groups: str | None = None,
) -> DataSplits:  # fmt: skip
    """The pictures of a folder and its sub-folders; `mera train MODEL --data FOLDER` reads it.

    Pictures are upright by their EXIF orientation, 16 bits are scaled to 8, and transparent pixels are white. Folders
    `train` and `test` are the splits; otherwise one picture in ten is for the test, by a hash of its path. If all lie
    in sub-folders, their names are the classes, each of which is divided. Of a single picture, a tenth of the area is
    for the test.

    Args:
        L: edge of the windows or images, or height and width.
        root: the folder, or one file.
        crop: "windows" at random places of the pictures; or whole pictures, cropped to the aspect ratio of the lattice
            and resized, by the largest crop at the "centre", or for training by a "random" crop at each access, with at
            least half the area.
        scale: the largest number of pixels of a longer edge of pictures of which windows are taken. Pictures are
            decoded once, and kept in the cache folder of the user. None for all pixels: files .npy are then read as
            well, and only the part of a window.
        channels: 3 to read pictures in colour, 1 in grey; None for colour, and for all channels of files .npy.
        flip, turn, colours, test_windows: as those of `windows`; whole pictures are only flipped.
        groups: "folder" to keep the files of one folder in one split, so that no photograph is in both.
    """
    check_choice(crop, CROPS, "a crop")
    check_channels(channels)
    augment: dict[str, Any] = {"flip": flip, "turn": turn, "colours": colours}
    if root.is_file():
        return windows(open_image(root, channels), L, test_windows=test_windows, name=root.stem, **augment)
    if crop != "windows":
        if turn or colours:
            raise InputError('turn and colours with crop="windows" alone', f"crop={crop!r}")
        listed, channels = list_pictures(root, groups), channels or 3
        labels = [{"class": torch.tensor(numbers)} if listed.classes else {} for numbers in listed.numbers]
        learnt = WholePictures(listed.train, L, channels, crop, check_flag(flip, "flip"), labels[0])
        kept = WholePictures(listed.test, L, channels, labels=labels[1])
        kept.names = listed.names
        return DataSplits(root.name, channels, learnt, kept, classes=listed.classes)
    listed = list_pictures(root, groups, arrays=scale is None)
    sources = _sources(listed, edges(L), scale, channels, root)
    train, test = ([whole(sources[file]) for file in files if file in sources] for files in listed[:2])
    if listed.divided and not (train and test):
        size = " x ".join(map(str, edges(L)))
        raise InputError(f"pictures of {size} pixels in {root}/train and in {root}/test", "none in one of them")
    if len(sources) == 1:
        return windows(list(sources.values()), L, test_windows=test_windows, name=root.stem, **augment)
    train, test = (train, test) if test else (train[:-1], train[-1:])
    train, test = (train, test) if train else (test[:-1], test[-1:])
    tested = Windows(test, L, test_windows, seed=0)
    tested.names = [name for name, file in zip(listed.names, listed.test, strict=True) if file in sources]
    return DataSplits(root.name, train[0].source.shape[0], Windows(train, L, **augment), tested)


def _sources(
    listed: Listed, size: tuple[int, int], scale: int | None, channels: int | None, root: Path
) -> dict[Path, Source]:
    """The pictures of which windows can be taken, by file; a warning lists the others."""
    files, sources, refused = [*listed.train, *listed.test], dict[Path, Source](), list[str]()
    if scale is not None:
        check_count(scale, "the longer edge")
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_atomically(cache_folder() / ".probe", b"")  # an unwritable folder is one error, not one for each picture

    def read(file: Path) -> Source | Exception:
        try:
            return open_image(file, channels) if scale is None else _kept(file, scale, channels or 3)
        except Exception as error:  # decoders raise any error for bytes that are not an image
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for file, result in zip(files, pool.map(read, files), strict=True):
            if isinstance(result, Exception):
                refused.append(f"{file}: {result}")
            elif min(n - edge for n, edge in zip(result.shape[1:], size, strict=True)) < 0:
                refused.append(f"{file}: smaller than {size[0]} x {size[1]} pixels")
            else:
                sources[file] = result
    if refused:
        more = f", and {len(refused) - MAX_LISTED} more" if len(refused) > MAX_LISTED else ""
        text = "; ".join(refused[:MAX_LISTED]) + more
        warnings.warn(f"{len(refused)} of {len(files)} files are not used: {text}", stacklevel=5)
    if not sources:
        raise DataMissingError(f"Expected pictures below {root} of {size[0]} x {size[1]} pixels or more; got none")
    return sources


def _kept(file: Path, scale: int, channels: int) -> Source:
    """A picture whose longer edge has at most `scale` pixels, from the cache."""
    state = file.stat()
    key = f"{file.resolve()} {state.st_mtime_ns} {state.st_size} {scale} {channels}"
    kept = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not kept.exists():
        content = io.BytesIO()
        np.save(content, read_picture(file, channels, scale).contiguous().numpy())
        write_atomically(kept, content.getvalue())
    return Source(Npy(kept), name=str(file), file=file)


def cache_folder() -> Path:
    """The folder of reduced pictures, in the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mera" / "pictures"


def photograph(path: str | PathLike[str] | None = None, longest: int = 960, channels: int = 3) -> Tensor:
    """The pixels of a photograph, (C, H, W) uint8, upright by its EXIF orientation, on white where it is transparent.

    Args:
        path: the file; None for a cat that comes with mera, (3, 288, 448): Chelsea, by Stéfan van der Walt (CC0 1.0),
            from scikit-image, without its border.
        longest: the pixels of the longer edge to which the photograph is reduced.
        channels: 3 for colour, 1 for grey.

    Raises:
        ValueError: if the file does not exist, or cannot be read as a picture.

    >>> photograph().shape
    torch.Size([3, 288, 448])
    """
    file = Path(__file__).with_name("chelsea.webp") if path is None else as_path(path)
    return read_picture(file, check_channels(channels), check_count(longest, "the longer edge in pixels"))
