"""A folder of photographs: decoded once and kept reduced, read as random windows, every tenth picture for the test."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mera._utils.checks import check_count, check_flag
from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera.data.dataset import DataMissingError, DataSplits, Edges, edges, register
from mera.data.folder import image_files, read_reduced, split_files
from mera.data.random_windows import Windows, whole, windows
from mera.data.sources import Source

MAX_LISTED = 10
"""The most files that a message lists."""


@register("pictures")
def pictures(
    L: Edges, root: Path, scale: int = 960, channels: int = 3, flip: bool = True, colours: bool = False,
    test_windows: int = 500, groups: str | None = None, strict: bool = False,
) -> DataSplits:  # fmt: skip
    """Random windows of the photographs of a folder and its sub-folders; `mera train MODEL --data FOLDER` reads it.

    Pictures are decoded once, upright by their EXIF orientation, and kept in the cache folder of the user, reduced to
    `scale`; 16 bits are scaled to 8, and transparent pixels are shown on white. Every tenth picture, by name, is for
    the test; of a single picture it is a tenth of the area.

    Args:
        L: edge of the windows, or height and width.
        root: the folder.
        scale: the largest number of pixels of a longer edge.
        channels: 3 to read pictures in colour, 1 in grey.
        flip: whether training windows are flipped left to right at random.
        colours: whether the channels of every second training window are permuted at random, as for "wallpapers".
        test_windows: the number of test windows, at fixed random places.
        groups: files that stay in one split, as for "folder".
        strict: whether a file that cannot be used is an error. Otherwise a warning lists such files after all have been
            read.
    """
    scale, size = check_count(scale, "the longer edge"), edges(L)
    if channels not in (1, 3):
        raise InputError("1 or 3 channels of pictures", str(channels))
    files = image_files(root)
    found: dict[Path, Source] = {}
    refused: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for file, result in zip(files, pool.map(lambda file: _reduced(file, scale, channels), files), strict=True):
            if isinstance(result, Exception):
                refused.append(f"{file}: {result}")
            elif min(n - edge for n, edge in zip(result.shape[1:], size, strict=True)) < 0:
                refused.append(f"{file}: smaller than {size[0]} x {size[1]} pixels")
            else:
                found[file] = Source(result, name=str(file))
    if refused:
        more = f", and {len(refused) - MAX_LISTED} more" if len(refused) > MAX_LISTED else ""
        text = "; ".join(refused[:MAX_LISTED]) + more
        if check_flag(strict, "strict"):
            raise InputError(f"pictures in all {len(files)} files of {root}", text)
        warnings.warn(f"{len(refused)} of {len(files)} files are not used: {text}", stacklevel=4)
    if not found:
        raise DataMissingError(f"Expected pictures below {root} of {size[0]} x {size[1]} pixels or more; got none")
    if len(found) == 1:
        (source,) = found.values()
        return windows(source, L, test_windows=test_windows, flip=flip, colours=colours, name="pictures")
    learnt, held_out = split_files([*found], root, groups)
    if not held_out:  # of fewer than ten pictures, the last
        learnt, held_out = learnt[:-1], learnt[-1:]
    train, test = ([whole(found[file]) for file in split] for split in (learnt, held_out))
    return DataSplits(
        "pictures", channels, Windows(train, L, flip=flip, colours=colours), Windows(test, L, test_windows, seed=0)
    )


def _reduced(file: Path, scale: int, channels: int) -> np.ndarray | Exception:
    """A picture whose longer edge has at most `scale` pixels, (C, H, W) uint8, from the cache; or the error."""
    try:
        state = file.stat()
        key = f"{file.resolve()} {state.st_mtime_ns} {state.st_size} {scale} {channels}"
        kept = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
        if not kept.exists():
            content = io.BytesIO()
            np.save(content, read_reduced(file, scale, channels))
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, content.getvalue())
        return np.load(kept, mmap_mode="r")
    except Exception as error:  # decoders raise any error for bytes that are not an image
        return error


def cache_folder() -> Path:
    """The folder of reduced pictures, in the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mera" / "pictures"
