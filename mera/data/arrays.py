"""Examples in one file of arrays: .npy, .npz or HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mera._utils.array_files import read_npz
from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.files import as_path, reading
from mera._utils.installation import import_optional
from mera.data.dataset import ARRAYS, HELD_OUT, ArrayDataset, DataMissingError, DataSplits, register
from mera.data.examples import as_images, hold_out
from mera.data.items import EXAMPLE_KEYS, LABEL_KEYS, key_of


@register("array")
def array(root: Path, key: str | None = None, kind: str | None = None) -> DataSplits:
    """Images or fields of one file, (N, C, *shape), whose last tenth is for the test; neighbours may be correlated.

    An array (N, H, W) with three axes is one of fields with one channel, unless its second axis has one entry. Labels
    of the file, an array "labels", "label", "class", "context" or "y", are class numbers or names (N,), or contexts; of
    examples with labels, which may be sorted by class, one of each ten is for the test, at a random place.

    Args:
        root: the file, .npy, .npz or .h5.
        key: the name of the array in a file of several; "images", "fields", "x" or "data" if None.
        kind: "images" for pixels that are not uint8 (see `as_images`); "fields" for floats in [0, 1], not pixels.
    """
    path = as_path(root)
    if not path.is_file():
        raise DataMissingError(f"Expected a file {path} with an array of examples; got none")
    values, labels = _read(path, key)
    if values.ndim == 3 and values.shape[1] > 1:
        values = values[:, None]
    if values.ndim < 3 or len(values) < 2:
        raise InputError(f"two examples or more (N, C, *shape) in {path}", f"an array {values.shape}")
    if kind is not None and check_choice(kind, ("fields", "images"), "a kind") == "images":
        values = as_images(values).numpy()
    classes: tuple[str, ...] = ()
    if labels is not None and labels.dtype.kind in "US":
        names, labels = np.unique(labels.astype(str), return_inverse=True)
        classes = tuple(names.tolist())
    if labels is not None and len(labels) == len(values):
        train, test = hold_out(ArrayDataset(values, labels))
    else:
        first = len(values) - max(1, len(values) // HELD_OUT)
        train, test = ArrayDataset(values[:first]), ArrayDataset(values[first:])
    return DataSplits(path.stem, values.shape[1], train, test, are_fields=kind == "fields", classes=classes)


def _read(path: Path, key: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the array of examples of a file, which stays on the disk if it is .npy, and the labels, None without any."""
    if path.suffix not in ARRAYS:
        raise InputError(f"a file {', '.join(ARRAYS)}", str(path))
    with reading(path, "an array"):
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        if path.suffix == ".npz":
            arrays = list(read_npz(path, lambda names: _keys(names, key, path)).values())
        else:
            with import_optional("h5py", "hdf5").File(path) as file:
                arrays = [np.asarray(file[name]) for name in _keys(list(file), key, path)]
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def _keys(names: list[Any], key: str | None, path: Path) -> list[str]:
    """The name of the array of examples among those of a file, followed by that of the labels, if there are any."""
    labels = key_of([name for name in names if name != key], LABEL_KEYS)
    if key is None:
        others = [name for name in names if name != labels]
        key = others[0] if len(others) == 1 else key_of(names, EXAMPLE_KEYS)
    if key is None or key not in names:
        expected = f"one of the arrays {', '.join(map(str, names))} of {path} (key=...)"
        raise InputError(expected, "none" if key is None else repr(key))
    return [key] if labels is None else [key, labels]
