"""Writing files so that nothing is lost: to a temporary name, flushed, then renamed."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Replace a file's content, or leave it as it was if anything goes wrong on the way."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder {path.parent} for {path.name}; got none")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
