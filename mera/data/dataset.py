"""Data sets: the protocol of examples, training and test splits, and the registry of data sets by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_shape, is_integer
from mera._utils.drawn import Drawn
from mera._utils.errors import IMPORT_FIRST, InputError, closest
from mera._utils.files import as_path
from mera._utils.manifest import is_run
from mera._utils.random import restored_states, seed_cpu
from mera._utils.registry import Registry
from mera._utils.table import html
from mera.data.items import check_array, check_finite, check_labels

ARRAYS = (".npy", ".npz", ".h5")
"""The suffixes of files of arrays."""
HELD_OUT = 10
"""One in so many examples is held out for the test."""

Edges = int | Sequence[int]
"""The edge of square images, or their height and width."""


class DataMissingError(FileNotFoundError):
    """A data set is not on this machine; the message says where to put it or how to download it."""


@runtime_checkable
class Examples(Protocol):
    """A data set whose items are examples: uint8 images or fields of floats, each (C, *shape).

    A data set may have an attribute `labels`, a dict of tensors (N, ...) by name: "class" with the class number of each
    example, "context" with the context of each example for a flow that was built with `context=`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class ArrayDataset(Dataset):
    """Examples in one array, which may be larger than memory: a `numpy.memmap` is read example by example.

    Args:
        array: a tensor or an array (N, C, *shape), uint8 or floats.
        labels: class numbers (N,), or contexts of floats (N, ...); or several labels by name, see `Examples`.

    Raises:
        ValueError: if the array is not one of numbers, an array in memory has an example that is not finite, or the
            number of labels is not that of the examples.
    """

    def __init__(self, array: Tensor | np.ndarray, labels: Any = None) -> None:
        self.array = check_array(array)
        self.labels = check_labels(labels, len(array))

    def __repr__(self) -> str:
        """The shape and the labels."""
        labels = f", labels {', '.join(self.labels)}" if self.labels else ""
        return f"ArrayDataset({' x '.join(map(str, self.array.shape))}, {self.array.dtype}{labels})"

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> Tensor:
        example = self.array[index]
        example = example if isinstance(example, Tensor) else torch.from_numpy(np.array(example))
        return check_finite(example, index) if isinstance(self.array, np.memmap) else example


@dataclass(frozen=True, repr=False)
class DataSplits(Drawn):
    """Training and test examples.

    Args:
        name: the name of the data set.
        channels: the channels of an example: 1 for grey images and real fields, 3 for colour.
        train: training examples.
        test: test examples.
        source: the arguments of `load` that load the data set again; None if it was made in another way.
        classes: the names of the classes, in the order of the class numbers; empty if they have no names.
        are_fields: whether floats are fields, whatever they look like; see `mera.data.as_fields`.
    """

    name: str
    channels: int
    train: Examples
    test: Examples
    source: dict[str, Any] | None = field(default=None, kw_only=True)
    classes: tuple[str, ...] = field(default=(), kw_only=True)
    are_fields: bool = field(default=False, kw_only=True)

    def __repr__(self) -> str:
        """The name, the numbers of examples, and the shape and dtype of an example."""
        with restored_states():
            seed_cpu(0)
            example = self.train[0] if len(self.train) else torch.empty(0)
        sizes = " x ".join(map(str, example.shape))
        classes = f"; classes {', '.join(self.classes)}" if self.classes else ""
        return (
            f"{self.name}: {len(self.train):,} training and {len(self.test):,} test examples of {sizes}, "
            f"{str(example.dtype).removeprefix('torch.')}{classes}"
        )

    def _repr_html_(self) -> str:
        """The description as HTML for notebooks, with the first examples if they are pictures."""
        return html(repr(self), self._repr_png_())


_loaders: Registry[Callable[..., DataSplits]] = Registry("a data set")
register = _loaders.register
"""Let `load(name)` call the decorated function.

The function is called with its own options, and with `L` (an integer for a line or a square, else a tuple of edges),
`root` and `download` if it has these parameters. `mera train` also passes `channels`, the number of the model."""
names = _loaders.names
"""Every name that `load` accepts."""


def takes(name: str | Path, option: str) -> bool:
    """Return whether a data set, by its name, file or folder, has an option.

    >>> takes("msds1", "train_size"), takes("fields.npz", "train_size")
    (True, False)
    """
    return _loaders.takes(_named(name), option)


def _named(name: str | Path) -> str:
    """The registered name of the data set that a name, a file or a folder stands for; refuses any other text."""
    known, text = _loaders.names(), name if isinstance(name, str) else str(as_path(name))
    if text.endswith(ARRAYS):
        return "array"
    if text in known:
        return text
    if not text or not Path(text).is_dir():
        got = f"{text!r}: neither a path nor a data set{closest(name, known) or IMPORT_FIRST}"
        raise InputError(f"a file, a folder or a data set among {known}", got)
    if is_run(text):
        raise InputError("a folder of pictures", f"{text}, the folder of a run")
    return "pictures"


def load(
    name: str | Path, L: Edges = 32, root: str | Path | None = None, download: bool = False, **options: Any
) -> DataSplits:
    """Load both splits of a data set by name, cropped to the aspect ratio of the lattice and resized.

    Args:
        name: one of `names()`; a file .npy, .npz or .h5 of examples (N, C, *shape), which are taken as they are; or a
            folder of pictures, for "pictures".
        L: edge of the images, or height and width; a data set of other lattices may take other numbers of edges.
        root: the folder of the files, or to which they are downloaded, "data" if None; for "pictures", that of the
            pictures.
        download: download missing files, if the data set can be downloaded.
        **options: options of the data set; its own function documents them.

    Returns:
        The splits; an item of `train` or `test` is a tensor (C, *shape), uint8 for images.

    Raises:
        ValueError: if the name or an option is unknown, or the data set has no use for `root` or `download`.
        DataMissingError: if files are missing; the message says what to do.
    """
    place, name = name, _named(name)
    if root is not None and (name != str(place) or not takes(name, "root")):
        raise InputError(f"no root for {str(place)!r}, which is read from no other folder", f"root={str(root)!r}")
    if download and not takes(name, "download"):
        raise InputError(f"no download for {str(place)!r}, which needs none", "download=True")
    root = ("data" if root is None else root) if name == str(place) else place
    shape = check_shape(L if isinstance(L, Sequence) else (L,), "L")
    lattice = int(shape[0]) if len(shape) < 3 and len(set(shape)) == 1 else shape
    standard = {"L": lattice, "root": Path(root), "download": download}
    options = {key: value for key, value in standard.items() if _loaders.takes(name, key)} | options
    _loaders.check_options(name, options)
    splits = _loaders.get(name)(**options)
    if not isinstance(splits, DataSplits):
        raise InputError(f"DataSplits from the function of the data set {name!r}", type(splits).__name__)
    source: dict[str, Any] = {"name": name} | {key: value for key, value in options.items() if key != "download"}
    if "root" in source:
        source["root"] = str(Path(source["root"]).resolve())  # so that a run finds its data from any folder
    return replace(splits, source=source)


def first(images: Examples, n: int) -> Tensor:
    """The first `n` examples, or all if there are fewer, as one tensor (n, C, *shape)."""
    return torch.stack([images[i] for i in range(min(n, len(images)))])


def labels(images: Examples, name: str = "class") -> Tensor:
    """The labels of a data set by name, (N, ...).

    Raises:
        ValueError: if the data set has no labels of that name.
    """
    available: dict[str, Tensor] = getattr(images, "labels", {})
    if name not in available:
        floats = name == "class" and "context" in available
        mend = ": labels of floats; of one-hot rows, class numbers are labels.argmax(1)" if floats else ""
        raise InputError(f"examples with labels {name!r}", (", ".join(available) or "none") + mend)
    return available[name]


def class_numbers(images: Examples) -> Tensor:
    """The class number of each image, (N,) int64, from labels "class" of any integer dtype.

    Raises:
        ValueError: if the data set has no labels "class", or they are not one integer for each image.
    """
    values = labels(images)
    if values.dtype == torch.bool or values.is_floating_point() or values.is_complex() or values.ndim != 1:
        rows = "labels[:, 0]" if values.shape[1:] == (1,) else "labels.argmax(1), if they are one-hot"
        mend = f"; of rows they are {rows}" if values.ndim == 2 else ""
        got = f"labels 'class' of shape {tuple(values.shape)}, {values.dtype}{mend}"
        raise InputError("class numbers, integers (N,)", got)
    return values.to(torch.int64)


def edges(L: Edges) -> tuple[int, int]:
    """Height and width of images from a positive integer or a pair of positive integers; refuses any other value."""
    pair = tuple(L) if isinstance(L, Sequence) and not isinstance(L, str) else (L, L)
    if len(pair) != 2 or not all(is_integer(edge) and 0 < edge < 2**31 for edge in pair):
        raise InputError("L as a positive integer, or a pair of them", repr(L))
    return int(pair[0]), int(pair[1])


def largest_crop(size: Sequence[int], L: Edges) -> tuple[int, int]:
    """Height and width of the largest rectangle with the aspect ratio of a lattice in an image of size (H, W).

    >>> largest_crop((30, 40), 8), largest_crop((30, 40), (8, 16))
    ((30, 30), (20, 40))
    """
    lattice = edges(L)
    scale = min(n / edge for n, edge in zip(size, lattice, strict=True))
    return max(1, round(lattice[0] * scale)), max(1, round(lattice[1] * scale))


def resize(images: Tensor, L: Edges) -> Tensor:
    """Crop images at their centre to the aspect ratio of a lattice, and resize them to it, bicubic and antialiased.

    Args:
        images: images (..., C, H, W) uint8.
        L: edge of the resized images, or both edges.
    """
    size = tuple(images.shape[-2:])
    if images.ndim < 3 or not images.numel():
        raise InputError("images (..., C, H, W)", f"a tensor of shape {tuple(images.shape)}")
    if size == edges(L):
        return images
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    if largest_crop(size, L) != size:
        images = F.center_crop(images, list(largest_crop(size, L)))
    return F.resize(images, list(edges(L)), interpolation=InterpolationMode.BICUBIC, antialias=True)
