"""Files of arrays, .npz and zarr, read without running code, and .npz not without a look at its size."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mera._utils.errors import InputError
from mera._utils.files import reading

LARGE, MAX_EXPANSION = 2**30, 100
"""The bytes of content from which on a file may not expand by more than a factor when it is read."""
CODECS = {
    "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "gzip", "zstd", "zlib", "lz4", "lzma", "bz2",
    "delta", "shuffle", "fixedscaleoffset", "packbits", "adler32", "crc32", "fletcher32",
}  # fmt: skip
"""The codecs of which none runs code from a file, as the codec pickle does."""


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


def open_zarr(path: Path) -> Any:
    """Open an array or a group of zarr to read, and refuse one that could run code.

    Raises:
        ValueError: if an array has objects as values, or another codec than `CODECS`; the message names the folder.
    """
    zarr: Any = import_module("zarr")  # late: it takes a third of a second
    found = zarr.open(str(path), mode="r")
    for array in [found] if hasattr(found, "shape") else [array for _, array in found.arrays()]:
        check_codecs(array, path)
    return found


def check_codecs(array: Any, path: Path) -> None:
    """Refuse an array whose chunks could run code as they are decoded; no chunk is decoded here."""
    metadata = array.metadata.to_dict()
    kept = {key: metadata.get(key) for key in ("codecs", "compressor", "compressors", "filters")}
    names = {name.removeprefix("numcodecs.") for name in _names(kept)}
    if array.dtype.hasobject or not names <= CODECS:
        got = "objects" if array.dtype.hasobject else ", ".join(sorted(names - CODECS))
        raise InputError("an array of numbers, with codecs that run no code", got, where=str(path))


def _names(value: Any) -> Iterator[str]:
    """The names of codecs in metadata, also of those within others."""
    if isinstance(value, Mapping):
        yield from (str(value[key]) for key in ("name", "id") if isinstance(value.get(key), str))
        for key, inner in value.items():
            if key in ("configuration", "codecs", "index_codecs", "compressor", "compressors", "filters"):
                yield from _names(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _names(inner)
