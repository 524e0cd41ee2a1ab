"""Tensors with a description in one safetensors file, which is checked when it is read and cannot hold code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from mera._utils.files import replacing

__all__ = ["pack", "read_archive", "unpack", "write_archive"]

KEY, SUM = "mera", "sha256"


def write_archive(path: str | PathLike[str], description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and a description of them; the file appears whole or not at all.

    Args:
        path: the file.
        description: values that JSON can hold.
        tensors: by name.

    Raises:
        OSError: if it cannot be written.
    """
    text = json.dumps(description)
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(whole, temporary, metadata={KEY: text, SUM: _checksum(text, whole)})
        except SafetensorError as error:  # a full disk, say
            raise OSError(f"{path}: cannot be written: {error}") from error
        temporary.chmod(mode)  # safetensors lets nobody else read its files


def read_archive(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_archive` wrote.

    The file is read once and copied, so that what becomes of it later does not matter.

    Returns:
        The description, and the tensors by name, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another file, or a byte of it has changed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file {path}; got none")
    content = path.read_bytes()
    try:
        metadata = _header(content)["__metadata__"]
        tensors = load(content)
        text, checksum = metadata[KEY], metadata[SUM]
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: Expected a file that mera wrote; got another or a damaged one: {error}") from error
    if _checksum(text, tensors) != checksum:
        raise ValueError(f"{path}: Expected a file as mera wrote it; got a damaged one, its checksum does not fit")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: Expected a description in JSON; got {error}") from None
    if not isinstance(description, dict):
        raise ValueError(f"{path}: Expected a description by names; got a {type(description).__name__}")
    return description, tensors


def _header(content: bytes) -> Any:
    """The JSON at the start of a safetensors file, behind its length in 8 bytes."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a description and of tensors with their names, dtypes and shapes, in the order of names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pack(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """Nested dicts, lists and tuples as JSON can hold them; `unpack` makes them again.

    Args:
        value: plain values, tensors, and dicts, lists and tuples of them.
        tensors: where tensors are put, by name.
        name: the name of the value, from which names of tensors are made.

    Raises:
        TypeError: if there is anything else in them.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, pack(item, tensors, _within(name, key))] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [pack(item, tensors, _within(name, index)) for index, item in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"Expected tensors, numbers, text, or dicts, lists and tuples of them; got {value!r} in {name!r}")


def _within(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `pack`.

    Raises:
        ValueError: if `pack` cannot have made the value.
    """
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "tensor" and isinstance(content, str) and content in tensors:
            return tensors[content]
        if (
            kind == "dict"
            and isinstance(content, list)
            and all(isinstance(pair, list) and len(pair) == 2 for pair in content)
        ):
            return {key: unpack(item, tensors) for key, item in content}
        if kind in ("list", "tuple") and isinstance(content, list):
            items = [unpack(item, tensors) for item in content]
            return items if kind == "list" else tuple(items)
    raise ValueError(f"Expected a packed tensor, dict, list or tuple; got {list(value)}")
