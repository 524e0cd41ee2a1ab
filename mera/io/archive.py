"""Tensors with a description in one safetensors file, which is checked when it is read and cannot hold code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mera._utils.files import replacing

__all__ = ["pack", "read_archive", "unpack", "write_archive"]

KEY, SUM = "mera", "sha256"


def write_archive(path: str | PathLike[str], description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and what JSON can hold about them; the file appears whole or not at all.

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
    """What `write_archive` wrote: the description and the tensors, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another file, or a byte of it has changed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file {path}; got none")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        text, expected = metadata[KEY], metadata[SUM]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: Expected a file that mera wrote; got another or a damaged one: {error}") from error
    if _checksum(text, tensors) != expected:
        raise ValueError(f"{path}: Expected a file as mera wrote it; got a damaged one, its checksum does not fit")
    return json.loads(text), tensors


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Of all that the file means, in the order of names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pack(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """What JSON can hold of nested dicts, lists and tuples of plain values; their tensors go to `tensors` by name.

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
    """What `pack` packed."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    return {"list": list, "tuple": tuple}[kind](unpack(item, tensors) for item in content)
