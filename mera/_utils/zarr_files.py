"""Arrays of zarr, opened only with codecs that run no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mera._utils.errors import InputError

CODECS = {
    "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "gzip", "zstd", "zlib", "lz4", "lzma", "bz2",
    "delta", "shuffle", "fixedscaleoffset", "packbits", "adler32", "crc32", "fletcher32",
}  # fmt: skip
"""The codecs of which none runs code from a file, as the codec pickle does."""


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
