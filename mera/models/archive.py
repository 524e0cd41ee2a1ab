"""Files of tensors: archives with a description and a checksum, and files of torch.save; reading runs no code."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as packed
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from mera._utils.errors import InputError
from mera._utils.files import reading, write_atomically
from mera._utils.manifest import parse_json

KEY, SUM = "mera", "sha256"
"""The keys of the description and of the checksum in the metadata of a file."""


def write_archive(path: str | PathLike[str], description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and a description to a file, which appears whole or not at all."""
    text = json.dumps(description)
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = json.dumps({"description": text, SUM: _checksum(text, copies)})
    write_atomically(path, packed(copies, metadata={KEY: metadata}))  # one entry, since the order of several varies


def read_archive(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the description and the tensors, on the CPU, from a file that `write_archive` wrote.

    Each tensor has memory of its own, which starts at a multiple of 64 bytes, as that of torch's own tensors does: the
    rounding of matrix products may depend on where a tensor starts. Later changes of the file do not affect them.
    """
    with reading(path, "a file that mera wrote"):
        with safe_open(path, "pt") as file:
            metadata, names = file.metadata(), file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
        written = metadata if SUM in metadata else json.loads(metadata[KEY])
        text, checksum = written[KEY if SUM in metadata else "description"], written[SUM]
    if _checksum(text, tensors) != checksum:
        raise InputError("a file as mera wrote it", "a damaged one, its checksum does not fit", where=str(path))
    return parse_json(text, Path(path)), tensors


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the description and of all tensors with their names, dtypes and shapes, sorted by name."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pack_tensors(value: Any) -> bytes:
    """The bytes of torch.save for tensors, numbers and text, in dicts, lists and tuples.

    Numbers and arrays of numpy become those of Python.
    """
    file = BytesIO()
    torch.save(_without_numpy(value), file)
    file.seek(0)
    if others := get_unsafe_globals_in_checkpoint(file):
        raise TypeError(f"Expected tensors, numbers and text, in dicts, lists and tuples; got {', '.join(others)}")
    return file.getvalue()


def _without_numpy(value: Any) -> Any:
    """The value with Python's own numbers and lists in place of those of numpy."""
    if isinstance(value, Mapping):
        return {key: _without_numpy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_numpy, value))
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def unpack_tensors(content: bytes, path: str | PathLike[str]) -> Any:
    """Read the content of a file that torch.save wrote, on the CPU; messages name the file."""
    other = "a damaged file or one with other objects, of which no code was run"
    with reading(path, "a checkpoint of tensors", other):
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as archive:  # whose checksums torch does not check
                if broken := archive.testzip():
                    raise ValueError(f"{broken} has another checksum")
        return torch.load(BytesIO(content), map_location="cpu", weights_only=True)
