"""Arrays in files: archives .npz, which are read without running code; and parts of arrays, read by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.files import reading

FLOATS = {"float16", "float32", "float64", "bfloat16", "f2", "f4", "f8"}
"""Floats that torch can read, by the names of torch and numpy without the byte order."""


def read_npz(path: Path, names: Callable[[list[str]], list[str]] | None = None) -> dict[str, Any]:
    """Read the arrays of a file .npz by name: all, or those that a function chooses from the names in the file.

    Raises:
        ValueError: if the file is damaged, or has objects other than numbers and text; the message names the file.
    """
    with reading(path, "arrays of numbers"), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in (file.files if names is None else names(file.files))}


def kind_of(array: Any) -> str:
    """The kind of the values of an array of any library: "uint8", "float", or the name of another dtype."""
    name = str(array.dtype).removeprefix("torch.").lstrip("<>=|")
    return "float" if name in FLOATS else name


def read_tensor(array: Any, where: tuple[Any, ...]) -> Tensor:
    """A copy of a part of an array with slices: a tensor on the CPU, in the byte order of this machine.

    A part of a `numpy.memmap` is read by a map of its own: the pages that a map has touched count as memory of the
    process as long as the map exists, and so the memory stays flat, however much of a file is read in the end.
    """
    is_file = isinstance(array, np.memmap) and array.filename is not None and not isinstance(array.base, np.memmap)
    if (
        is_file and array.mode != "c" and Path(array.filename).is_file()
    ):  # mode "c", copy-on-write: changed values are only in memory
        order: Any = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        array = np.memmap(array.filename, array.dtype, "r", array.offset, array.shape, order)
    part = array[where]
    if isinstance(part, Tensor):  # numpy has no bfloat16
        return part.detach().to("cpu", copy=True)
    part = np.asarray(part)
    return torch.from_numpy(np.array(part, dtype=part.dtype.newbyteorder("=")))
