"""Files of arrays, .npz, read without running code, and not without a look at their size."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mera._utils.errors import InputError
from mera._utils.files import reading

LARGE, MAX_EXPANSION = 2**30, 100
"""The bytes of content from which on a file may not expand by more than a factor when it is read."""


def read_npz(path: Path, names: Callable[[list[str]], list[str]] | None = None) -> dict[str, Any]:
    """The arrays of a file by name.

    Args:
        path: the file.
        names: a function that chooses the names of the arrays to read from those of the file; None for all.

    Raises:
        ValueError: if the file is damaged, has objects other than numbers and text, or would expand to far more bytes
            than it has; the message names the file.
    """
    with reading(path, "arrays of numbers"):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > max(LARGE, MAX_EXPANSION * path.stat().st_size):
            raise InputError(f"arrays of numbers in {path}", f"one that would expand to {size:,} bytes")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (file.files if names is None else names(file.files))}
