"""Images of any size as arrays of which parts are read: pictures, .npy, and arrays themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.array_files import kind_of, read_tensor
from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.files import reading
from mera.data.dataset import DataMissingError
from mera.data.fingerprint import bytes_of
from mera.data.picture_files import read_picture
from mera.flow.density import Density

PROBES = 64
"""The number of pixels by which an image is recognised."""


class Npy:
    """The array of a file .npy, which is open only while a part is read: a process may have few open files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        array = self._open()
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, where: Any) -> np.ndarray:
        return np.array(self._open()[where])

    def _open(self) -> np.ndarray:
        with reading(self.path, "an image"):
            return np.load(self.path, mmap_mode="r", allow_pickle=False)


class Source:
    """An image of any size, (C, H, W), of which parts are read.

    Args:
        array: an array (C, H, W) or (H, W) with a shape, a dtype and slices.
        name: the name of the image in messages.
        file: the file of the image, by which it is recognised; None for an array.
    """

    def __init__(self, array: Any, name: str = "an image", file: Path | None = None) -> None:
        shape = tuple(getattr(array, "shape", ()))
        if len(shape) not in (2, 3):
            raise InputError(f"an array (C, H, W) for {name}", f"{type(array).__name__} {shape}")
        self.array, self.name, self.file, self.dtype = array, name, file, array.dtype
        self.shape = (1, *shape) if len(shape) == 2 else shape

    def __getitem__(self, where: tuple[slice, ...]) -> Tensor:
        """A copy of a part of the image, (C, h, w)."""
        bounded = tuple(slice(*part.indices(n)) for part, n in zip(where, self.shape, strict=True))
        part = read_tensor(self.array, bounded[-len(self.array.shape) :])
        return part if part.ndim == 3 else part[None]

    def pixels(self) -> bytes:
        """Some pixels at fixed random places, by which images of one shape are told apart."""
        generator = np.random.default_rng(0)
        sites = [[slice(i, i + 1) for i in generator.integers(self.shape[1:]).tolist()] for _ in range(PROBES)]
        return repr(self.shape).encode() + b"".join(bytes_of(self[:, *site]) for site in sites)

    def __repr__(self) -> str:
        return f"{self.name}: {' x '.join(map(str, self.shape))}, {self.dtype}"


def reflected(images: Any, flow: Density | Sequence[int]) -> Any:
    """Images whose edges fit a flow: reflected at the last row and column as far as necessary, a single one repeated.

    Results for the images themselves are those of `result.bits(shape=...)` of a stream, or the first rows and columns.

    Args:
        images: a `Source`, or images as an array or a tensor whose last axes are the lattice, (..., H, W).
        flow: the flow; or a number for each dimension whose multiples the edges are to be.

    Returns:
        A `Source`, of which parts are read later, or a tensor.

    Raises:
        ValueError: if an edge is too short to be reflected so far.

    >>> import mera
    >>> flow = mera.build("rgflow", L=16, hidden=(8,))
    >>> reflected(torch.zeros(3, 31, 40), flow).shape
    torch.Size([3, 32, 48])
    """
    if isinstance(flow, Density):
        units = flow.plan.period
    else:
        units = tuple(flow) if isinstance(flow, Sequence) else (flow,)
    if not all(is_integer(unit) and unit > 0 for unit in units) or (isinstance(images, Source) and len(units) != 2):
        raise InputError("a flow, or a positive number for each dimension", repr(flow))
    images = images if isinstance(images, Source) else torch.as_tensor(images)
    lattice = zip(images.shape[-len(units) :], units, strict=True)
    places = [np.pad(np.arange(n), (0, -n % unit), mode="reflect") for n, unit in lattice]
    if isinstance(images, Source):
        is_same = tuple(map(len, places)) == images.shape[1:]
        return images if is_same else Source(_Reflected(images, places), name=images.name)
    for axis, sites in enumerate(places, start=images.ndim - len(units)):
        images = images.index_select(axis, torch.from_numpy(sites).to(images.device))
    return images


class _Reflected:
    """An image (C, H, W) as an array of other rows and columns, each of which shows a row or a column of the image."""

    def __init__(self, source: Source, places: Sequence[np.ndarray]) -> None:
        self.source, self.places, self.dtype = source, places, source.dtype
        self.shape = (source.shape[0], *map(len, places))

    def __getitem__(self, where: tuple[slice, ...]) -> Tensor:
        slices, picks = [where[0]], []
        for part, places in zip(where[1:], self.places, strict=True):
            sites = places[part]
            first = int(sites.min()) if len(sites) else 0
            slices.append(slice(first, int(sites.max()) + 1 if len(sites) else 0))
            picks.append(sites - first)
        block = self.source[tuple(slices)]
        return block[:, picks[0]][:, :, picks[1]]


def open_image(image: Any, channels: int | None = None) -> Source:
    """Open an image of any size, a file or an array (C, H, W) or (H, W).

    A file is a picture, which is read as a whole, or a file .npy, of which parts are read. Of arrays of zarr and h5py,
    and of a `numpy.memmap`, parts are read as well.

    Args:
        image: the file, or the array: a tensor, a numpy array or memmap, an array of zarr or h5py.
        channels: 1 to read a picture in grey, 3 in colour; None for colour, and for all channels of files .npy.

    Raises:
        DataMissingError: if the file does not exist.
        ValueError: if it cannot be read as an image.
    """
    if not isinstance(image, (str, Path)):
        return image if isinstance(image, Source) else Source(image)
    path = Path(image)
    if not path.exists():
        raise DataMissingError(f"Expected an image {path}; got no such file")
    array = Npy(path) if path.suffix.lower() == ".npy" else read_picture(path, 3 if channels is None else channels)
    return Source(array, name=str(path), file=path)


def dtype_of(source: Source) -> torch.dtype:
    """The dtype of an image for torch, that of 8-bit integers or of single precision."""
    kind = kind_of(source)
    if kind not in ("uint8", "float"):
        raise InputError(f"8-bit or floating-point pixels of {source.name}", kind)
    return torch.uint8 if kind == "uint8" else torch.float32
