"""Writing files so that nothing is lost: to a temporary name, flushed, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from mera._utils.errors import InputError

__all__ = ["as_path", "remove_leftovers", "replacing", "write_atomically"]

SUFFIX = ".part"


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary name to write to, which takes the place of `path` at the end; on any error `path` is left untouched.

    If `path` is a symbolic link, the file that it points to is replaced, and the link stays.

    Raises:
        IsADirectoryError: if `path` is a folder.
        FileNotFoundError: if there is no folder for the file.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder {path.parent} for {path.name}; got none")
    if path.is_dir():
        raise IsADirectoryError(f"Expected the name of a file; got {path}, which is a folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        yield temporary
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _flush(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def as_path(path: object) -> Path:
    """A path, from what a user passes for one.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(path, (str, PathLike)) or isinstance(fspath := os.fspath(path), bytes) or "\0" in fspath:
        raise InputError("a path", repr(path))
    return Path(fspath)


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Replace a file's content, or leave it as it was if anything goes wrong on the way."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a folder that nobody else writes to."""
    for leftover in folder.glob(f".*{SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _flush(path: Path, flags: int) -> None:
    """Bring a file, or the names in a folder, from the system's memory to the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
