"""Files that appear whole or not at all: they are written to a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from mera._utils.errors import InputError

SUFFIX = ".part"
"""The end of temporary names."""


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A context with a temporary file name; the file written there replaces `path` at the end, if there is no error.

    Args:
        path: the file to replace; if it is a symbolic link, the file that it points to is replaced, and the link stays.

    Raises:
        ValueError: if `path` is no path.
        IsADirectoryError: if `path` is a folder.
        FileNotFoundError: if there is no folder for the file.
    """
    path = as_path(path)
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
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
    """The path that a user passed as text or as a `PathLike` object.

    Args:
        path: the argument as it was passed.

    Raises:
        ValueError: if the argument is no path, or contains a null character, which no file system accepts.
    """
    text = os.fspath(path) if isinstance(path, (str, PathLike)) else path
    if not isinstance(text, str):
        raise InputError("a path", repr(path))
    if "\0" in text:
        raise InputError("a path without null characters", repr(path))
    return Path(text)


def make_folder(path: Path) -> None:
    """Make a folder, and the folders above it, unless it is there.

    Args:
        path: the folder.

    Raises:
        FileExistsError: if there is a file of that name, or one in the place of a folder above.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FileExistsError(f"Expected a folder {path}; got a file there") from None


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Replace the content of a file; if anything goes wrong on the way, the file stays as it was.

    Args:
        path: the file; if it is a symbolic link, the file that it points to is replaced.
        content: the new content.

    Raises:
        ValueError: if `path` is no path.
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote.

    Args:
        folder: a folder that no other process writes to.
    """
    for leftover in folder.glob(f".*{SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _flush(path: Path, flags: int) -> None:
    """Let the system write a file, or the names in a folder, to the disk now."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
