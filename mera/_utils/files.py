"""Files that appear whole or not at all: they are written to a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from filelock import FileLock, Timeout

from mera._utils.errors import InputError

SUFFIX = ".part"
"""The suffix of temporary names."""


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A context with a temporary file name, whose file replaces `path` at the end, unless an error is raised.

    Args:
        path: the file to replace; if it is a symbolic link, the file that it points to is replaced, and the link stays.

    Raises:
        FileNotFoundError: if the folder of the file does not exist.
        FileExistsError: if the path is a device or a pipe.
    """
    path = as_path(path)
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FileExistsError(f"Expected a regular file {path}; got a device or a pipe there")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder {path.parent} for {path.name}; got none")
    thread = f"{os.getpid()}-{threading.get_ident()}"  # two threads may write one file at a time
    temporary = path.with_name(f".{path.name}.{thread}{SUFFIX}")
    try:
        yield temporary
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _flush(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading(path: object, expected: str, got: str = "") -> Iterator[None]:
    """A context in which an error of a reader becomes a ValueError in one line, with the name of the file.

    Readers raise any kind of error for bytes that are not what they seem. The message says what the file should hold,
    and `got`, or else the text of the error.
    """
    try:
        yield
    except (InputError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        text = " ".join(f"a file that cannot be read: {type(error).__name__}: {error}".split())[:250]
        raise InputError(expected, got or text, where=str(path)) from error


def as_path(path: object) -> Path:
    """Convert text or a `PathLike` object to a path, and refuse any other value."""
    text = os.fspath(path) if isinstance(path, (str, PathLike)) else path
    if not isinstance(text, str):
        raise InputError("a path", repr(path))
    return Path(text)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, unless it exists; raises a `FileExistsError` if one of these is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FileExistsError(f"Expected a folder {path}; got a file there") from None


@contextmanager
def locked(folder: Path, expected: str) -> Iterator[None]:
    """A context in which this process has locked a folder, which is made if there is none.

    The system releases the lock when the process ends, even after a crash. What killed processes have left in the
    folder, and in the folders in it, is removed.
    """
    make_folder(folder)
    try:
        with FileLock(folder / ".lock", timeout=0):
            for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
                for leftover in place.glob(f".*{SUFFIX}"):
                    leftover.unlink(missing_ok=True)
            yield
    except Timeout as error:
        raise FileExistsError(f"Expected {expected}; got {folder}") from error


def temporary_folder(prefix: str) -> tuple[Path, FileLock]:
    """Make a temporary folder, locked until the returned lock is released; remove the folders of ended processes.

    The system releases the lock when the process ends, however it ends, so that a later call can remove its folder.
    """
    for leftover in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(Timeout, OSError), FileLock(leftover / ".lock", timeout=0):
            shutil.rmtree(leftover)
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix))
        lock = FileLock(path / ".lock", timeout=0, thread_local=False)
        with suppress(Timeout, FileNotFoundError):
            lock.acquire()
            if path.exists():  # otherwise another process removed it before it was locked
                return path, lock


def sum_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Replace the content of a file; if an error occurs, the file stays as it was. See `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _flush(path: Path, flags: int) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
