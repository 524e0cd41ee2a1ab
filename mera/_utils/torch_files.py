"""Files of torch.save that hold tensors and plain values, written whole and read without running code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from mera._utils.errors import InputError
from mera._utils.files import replacing

MAX_EXPANSION = 4
"""The largest ratio of the content of a file to its size; torch does not compress its files."""


def write_tensors(path: str | PathLike[str], value: Any) -> None:
    """Write tensors, numbers and text, in dicts, lists and tuples, to a file, which appears whole or not at all.

    Numbers and arrays of numpy become those of Python.
    """
    with replacing(path) as temporary:
        try:
            torch.save(_without_numpy(value), temporary)
        except RuntimeError as error:  # on a full disk, say
            raise OSError(f"{path}: cannot be written: {error}") from error
        if others := get_unsafe_globals_in_checkpoint(temporary):
            raise TypeError(f"Expected tensors, numbers and text, in dicts, lists and tuples; got {', '.join(others)}")


def _without_numpy(value: Any) -> Any:
    """The value with Python's own numbers and lists in place of those of numpy."""
    if isinstance(value, Mapping):
        return {key: _without_numpy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_numpy, value))
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def read_tensors(path: str | PathLike[str]) -> Any:
    """Read what `write_tensors` or torch.save wrote, on the CPU."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file {path}; got {'a folder' if path.is_dir() else 'none'}")
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # unpickling other bytes may raise any kind of error
        got = "a damaged file or one with other objects, of which no code was run"
        raise InputError("a checkpoint of tensors", got, where=str(path)) from error


def _check_archive(path: Path) -> None:
    """Refuse an archive with a wrong checksum, which torch does not check, or with far more content than bytes."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_EXPANSION * path.stat().st_size:
            raise InputError("an archive that is not compressed", f"{size:,} bytes of content")
        if broken := archive.testzip():
            raise InputError(f"the checksum of {broken}", "another")
