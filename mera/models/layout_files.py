"""Layouts in TOML files."""

from __future__ import annotations

from os import PathLike

from mera._utils.files import as_path, write_atomically
from mera.graph import Layout, LayoutError
from mera.graph.toml import dumps, loads


def save_layout(layout: Layout, path: str | PathLike[str]) -> None:
    """Write a layout to a TOML file, which appears whole or not at all.

    Args:
        layout: a layout of registered bijectors; see `mera.bijectors.register`.
        path: the file.

    Raises:
        LayoutError: if the argument is not a `Layout`, or the bijector of a node is not registered.
        ValueError: if `path` is not a path.
        OSError: if the file cannot be written.
    """
    write_atomically(as_path(path), dumps(layout).encode())


def load_layout(path: str | PathLike[str]) -> Layout:
    """Read a layout from a TOML file, which cannot hold code.

    Args:
        path: a file, written by `save_layout` or by hand; `mera.graph.toml` describes its tables.

    Raises:
        FileNotFoundError: if the file does not exist.
        LayoutError: if the file does not describe a layout; the message names the file, the node and the field.
        ValueError: if `path` is not a path.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file {path}; got none")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LayoutError("TOML", f"a file that is not UTF-8 text: {path}: {error}") from None
    return loads(text, str(path))
