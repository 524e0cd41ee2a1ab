"""Images of any size as arrays of which parts are read: pictures, TIFF, zarr, OME-Zarr, .npy, and arrays themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.array_files import kind_of, open_zarr, read_tensor
from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.files import reading
from mera._utils.installation import import_optional
from mera.data.dataset import DataMissingError
from mera.data.fingerprint import bytes_of
from mera.data.picture_files import read_picture
from mera.flow.density import Density
from mera.graph.resize import period

TIFF = (".tif", ".tiff")
"""The suffixes of TIFF files, which tifffile reads: tiled, pyramidal and OME files too."""
FILES = (*TIFF, ".npy")
"""The suffixes of files of which parts are read."""
PROBES = 64
"""The number of pixels by which an image is recognised."""


class OnDisk:
    """An array of a file, which is open only while a part is read: a process may have few open files.

    Args:
        path: the file.
        opened: a function that makes a context with the array.
    """

    def __init__(self, path: Path, opened: Callable[[], AbstractContextManager[Any]]) -> None:
        self.path, self.opened = path, opened
        with opened() as array:
            self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, where: Any) -> np.ndarray:
        with reading(self.path, "an image"), self.opened() as array:
            return np.array(array[where])


def npy(path: Path) -> OnDisk:
    """The array of a file .npy."""
    return OnDisk(path, lambda: nullcontext(np.load(path, mmap_mode="r", allow_pickle=False)))


class Source:
    """An image of any size, (C, H, W), of which parts are read.

    Args:
        array: an array with a shape, a dtype and slices.
        axes: the axes in the order of the array, "y", "x" and perhaps "c", and others of length 1; None if channels are
            the first of three axes, or there are two.
        name: the name of the image in messages.
        file: the file of the image, by which it is recognised; None for an array.
    """

    def __init__(self, array: Any, axes: str | None = None, name: str = "an image", file: Path | None = None) -> None:
        shape = tuple(getattr(array, "shape", ()))
        axes = ("yx" if len(shape) == 2 else "cyx") if axes is None else axes
        own = sorted(axis for axis in axes if axis in "cyx")
        if len(shape) != len(axes) or own not in (["x", "y"], ["c", "x", "y"]):
            raise InputError(f"an array (C, H, W) for {name}", f"{type(array).__name__} {shape}")
        if any(n > 1 for axis, n in zip(axes, shape, strict=True) if axis not in own):
            raise InputError(f"one plane in {name}", f"axes {axes} of {shape}")
        self.array, self.axes, self.name, self.file = array, axes, name, file
        sizes = dict(zip(axes, shape, strict=True))
        self.shape = sizes.get("c", 1), sizes["y"], sizes["x"]
        self.dtype = array.dtype

    def __getitem__(self, where: tuple[slice, ...]) -> Tensor:
        """A copy of a part of the image, (C, h, w)."""
        bounded = [slice(*part.indices(n)) for part, n in zip(where, self.shape, strict=True)]
        slices = dict(zip("cyx", bounded, strict=True))
        part = read_tensor(self.array, tuple(slices.get(axis, 0) for axis in self.axes))
        order = [axis for axis in self.axes if axis in slices]
        if "c" not in order:
            part, order = part[None], ["c", *order]
        return part.permute([order.index(axis) for axis in "cyx"])

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
        units = period(flow.plan)
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
    """An image of any size, by its file, or from an array (C, H, W) or (H, W).

    A file is a picture, which is read as a whole; a TIFF file or the folder of a zarr array or of an OME-Zarr image, of
    which parts are read, at full resolution; or a file .npy.

    Args:
        image: the file, or the array: a tensor, a numpy array or memmap, an array of zarr or h5py.
        channels: 1 to read a picture in grey, 3 in colour; None for colour, and for all channels of other files.

    Raises:
        DataMissingError: if there is no such file.
        ValueError: if it cannot be read as an image, or the package that reads it is not installed.
    """
    if not isinstance(image, (str, Path)):
        return image if isinstance(image, Source) else Source(image)
    path = Path(image)
    if not path.exists():
        raise DataMissingError(f"Expected an image {path}; got no such file")
    with reading(path, "an image"):
        if path.is_dir():
            return _open_zarr(path)
        if path.suffix.lower() == ".npy":
            return Source(npy(path), name=str(path), file=path)
        if path.suffix.lower() in TIFF:
            return _open_tiff(path)
        return Source(read_picture(path, 3 if channels is None else channels), name=str(path), file=path)


def _open_zarr(path: Path) -> Source:
    """An array of zarr, or the full resolution of an OME-Zarr image."""
    array, axes = open_zarr(path), None
    if not hasattr(array, "shape"):
        attributes = dict(array.attrs)
        scales = attributes.get("multiscales", attributes.get("ome", {}).get("multiscales"))
        if not scales:
            raise InputError(f"an array of zarr, or an OME-Zarr image in {path}", "a group without multiscales")
        names = [axis["name"] if isinstance(axis, dict) else axis for axis in scales[0].get("axes", "tczyx")]
        array, axes = array[scales[0]["datasets"][0]["path"]], "".join(names)
    return Source(array, axes, str(path))


def _open_tiff(path: Path) -> Source:
    """The full resolution of the first image of a TIFF file, in tiles or strips as the file has them."""
    tifffile = import_optional("tifffile", "large")

    @contextmanager
    def opened() -> Iterator[Any]:
        import zarr

        with tifffile.TiffFile(path) as file:
            yield zarr.open(file.series[0].aszarr(level=0), mode="r")

    with tifffile.TiffFile(path) as file:
        axes = file.series[0].axes.lower().replace("s", "c")
    return Source(OnDisk(path, opened), axes, str(path), path)


def dtype_of(source: Source) -> torch.dtype:
    """The dtype of an image for torch, that of 8-bit integers or of single precision."""
    kind = kind_of(source)
    if kind not in ("uint8", "float"):
        raise InputError(f"8-bit or floating-point pixels of {source.name}", kind)
    return torch.uint8 if kind == "uint8" else torch.float32
