"""Random windows of images of any size: data to learn from, and windows of other parts for the test."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.checks import check_count, check_flag, check_positive
from mera._utils.errors import InputError
from mera.data.dataset import HELD_OUT, DataSplits, Edges, edges
from mera.data.fingerprint import digest, digest_of_files
from mera.data.items import check_finite
from mera.data.sources import Source, dtype_of, open_image

SEVERAL = 3
"""The number of images of several that are held out at least."""
MAX_HELD_OUT = 0.3
"""The largest share of the area that whole images may have to be held out; beyond, a part of one image is."""


@dataclass(frozen=True)
class Part:
    """A rectangle of an image, in which windows lie."""

    source: Source
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def window(self, top: int, left: int, size: tuple[int, int]) -> Tensor:
        """A window, by its corner in the rectangle and its size, (C, *size)."""
        first, second = self.rows[0] + top, self.columns[0] + left
        window = self.source[:, first : first + size[0], second : second + size[1]]
        return window.to(dtype_of(self.source))


class Windows(Dataset):
    """Windows of images of any size, in proportion to the area of each image.

    Args:
        parts: rectangles of images, with as many channels each.
        L: edge of the windows, or height and width.
        count: the number of windows; None for as many as would lie side by side.
        seed: the seed of the places, so that an index is always the same window; None for a new random place at each
            access.
        flip, turn, colours: as those of `windows`, at random at each access.
    """

    def __init__(
        self, parts: Sequence[Part], L: Edges, count: int | None = None, seed: int | None = None,
        flip: bool = False, turn: bool = False, colours: bool = False,
    ) -> None:  # fmt: skip
        self.parts, self.size, self.seed = list(parts), edges(L), seed
        self.flip, self.turn = check_flag(flip, "flip"), check_flag(turn, "turn")
        self.colours = check_flag(colours, "colours")
        self.names: list[str] | None = None  # of files, for a fingerprint
        if turn and self.size[0] != self.size[1]:
            raise InputError("square windows to turn", f"{self.size[0]} x {self.size[1]}")
        for part in self.parts:
            if any(n < edge for n, edge in zip(part.size, self.size, strict=True)):
                expected = f"at least {self.size[0]} x {self.size[1]} pixels of {part.source.name}"
                raise InputError(expected, f"{part.size[0]} x {part.size[1]}")
        areas = torch.tensor([float(math.prod(part.size)) for part in self.parts], dtype=torch.float64)
        count = max(len(self.parts), int(areas.sum() / math.prod(self.size))) if count is None else count
        ends = (areas.cumsum(0) / areas.sum() * check_count(count, "a number of windows")).round().long()
        self.ends = ends.tolist()

    @cached_property
    def pictures(self) -> Tensor:
        """The number of the image of each window: windows of one image are not independent."""
        return torch.bucketize(torch.arange(len(self)), torch.tensor(self.ends), right=True)

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Tensor:
        index = range(len(self))[index]
        part = self.parts[bisect_right(self.ends, index)]
        top, left = self._corner(index, [n - edge + 1 for n, edge in zip(part.size, self.size, strict=True)])
        window = check_finite(part.window(top, left, self.size), index)
        if self.flip and torch.rand(()) < 0.5:
            window = window.flip(-1)
        if self.colours and torch.rand(()) < 0.5:
            window = window[torch.randperm(len(window))]
        return window.rot90(int(torch.randint(4, ())), (-2, -1)) if self.turn else window

    def hold_out(self) -> tuple[Windows, Windows]:
        """Windows to learn from, and windows of a tenth of the area: other images, or another part of the largest one.

        Random windows overlap, so that windows held out by number would show pixels that are learnt. Of six images
        or more at least three are held out, since a single one says little about others.
        """
        share, total, several = 1 / HELD_OUT, sum(map(_area, self.parts)), SEVERAL if len(self.parts) >= 6 else 1
        training, held_out = _split(self.parts, share, self.size, several) if len(self.parts) > 1 else ([], self.parts)
        if sum(map(_area, held_out)) > MAX_HELD_OUT * total:
            largest = max(self.parts, key=_area)
            by_rows = largest.size[0] >= largest.size[1]
            room = self.size[0 if by_rows else 1] / max(largest.size)  # of one window at least
            divided, held_out = _split([largest], max(share, room), self.size)
            training = [*(part for part in self.parts if part is not largest), *divided]
        n = max(len(held_out), len(self) // HELD_OUT)
        rest = max(len(training), len(self) - n)
        others = Windows(training, self.size, rest, self.seed, self.flip, self.turn, self.colours)
        return others, Windows(held_out, self.size, n, seed=0)

    def _corner(self, index: int, counts: Sequence[int]) -> Sequence[int]:
        """The top and the left of a window in its part, from the numbers of tops and of lefts."""
        if self.seed is None:
            return [int(torch.randint(n, ())) for n in counts]
        return np.random.default_rng([self.seed, index]).integers(counts).tolist()

    @property
    def identity(self) -> str:
        """A digest that tells data sets of windows apart; see `mera.data.fingerprint`."""
        sources, geometry = [part.source for part in self.parts], [(part.rows, part.columns) for part in self.parts]
        files = digest_of_files(source.file for source in sources if source.file is not None)
        pixels = [source.pixels() for source in sources if source.file is None]
        how = geometry, self.size, len(self), self.seed, self.flip, self.turn, self.colours
        return digest([repr(how).encode(), files.encode(), *pixels])

    def __repr__(self) -> str:
        places = "random windows" if self.seed is None else "windows"
        return f"Windows({len(self):,} {places} of {self.size[0]} x {self.size[1]}, of {len(self.parts)} images)"


def windows(
    images: Any, L: Edges = 32, *, test: Any = 0.1, test_windows: int = 500, flip: bool = False, turn: bool = False,
    colours: bool = False, channels: int | None = None, name: str = "windows",
) -> DataSplits:  # fmt: skip
    """Random windows of images of any size, to learn from; and windows of other images, or other parts, for the test.

    A training window lies at a new random place each time. In training it is a function of seed, step and row, so that
    a resumed run sees the same windows. An epoch has as many windows as would lie side by side, shared among images by
    their areas. Only the pixels of a window are read.

    Args:
        images: an image or a sequence of images, each an array (C, H, W) or (H, W), also on disk (`numpy.memmap`, zarr,
            h5py), or a file (see `mera.data.sources.open_image`). Pixels are 8-bit integers, or floats in the space of
            the flow. For the pictures of a folder, see the data set "pictures".
        L: edge of the windows, or height and width.
        test: the test images, in the same forms; or the share of the area that is held out: the last images of
            several, otherwise the lower or the right part of the only image.
        test_windows: the number of test windows, at fixed random places.
        flip: whether training windows are flipped left to right at random.
        turn: whether training windows are turned by multiples of 90 degrees at random.
        colours: whether the channels of every second training window are permuted at random: with few photographs, a
            flow meets colours in the test that it has never seen.
        channels: 1 to read pictures in grey, 3 in colour.
        name: the name of the data set.

    Returns:
        The splits, for `fit(flow, data)`.

    Raises:
        DataMissingError: if a file is missing.
        ValueError: if an image is smaller than a window, images have different channels or types of pixels, an argument
            is out of its range, or a package that reads a file is not installed.

    >>> import mera, torch
    >>> data = mera.data.windows([torch.zeros(3, 200, 120), torch.zeros(3, 90, 300)], L=32)
    >>> data.train[0].shape, len(data.test)
    (torch.Size([3, 32, 32]), 500)
    """
    sources = _sources(images, channels)
    if isinstance(test, Real):
        test = check_positive(test, "the share of the test", most=1)
        training, testing = _split([whole(source) for source in sources], test, edges(L))
    else:
        training, testing = [whole(s) for s in sources], [whole(s) for s in _sources(test, channels)]
    kinds = {(part.source.shape[0], dtype_of(part.source)) for part in (*training, *testing)}
    if len(kinds) > 1:
        got = " and ".join(sorted(f"{n} channels of {dtype}" for n, dtype in kinds))
        raise InputError("images with the same channels and type of pixels", got)
    train = Windows(training, L, flip=flip, turn=turn, colours=colours)
    return DataSplits(name, kinds.pop()[0], train, Windows(testing, L, test_windows, seed=0))


def _sources(images: Any, channels: int | None) -> list[Source]:
    """The images of an argument."""
    if isinstance(images, Sequence) and not isinstance(images, str):
        if not images:
            raise InputError("one image or more", "none")
        return [open_image(image, channels) for image in images]
    return [open_image(images, channels)]


def _area(part: Part) -> int:
    """The number of pixels of a part."""
    return math.prod(part.size)


def whole(source: Source) -> Part:
    """The part that is all of an image."""
    return Part(source, (0, source.shape[1]), (0, source.shape[2]))


def _split(parts: list[Part], share: float, size: tuple[int, int], several: int = 1) -> tuple[list[Part], list[Part]]:
    """Training and test parts: the last ones, at least `several`, are for the test; a single one is divided, a window's
    edge apart."""
    if len(parts) > 1:
        areas = list(map(_area, parts))
        last = len(parts) - 1
        while last > 1 and (sum(areas[last:]) < share * sum(areas) or len(parts) - last < several):
            last -= 1
        return parts[:last], parts[last:]
    (part,) = parts
    by_rows = part.size[0] >= part.size[1]
    (start, stop), edge = (part.rows, size[0]) if by_rows else (part.columns, size[1])
    # independent of the edge of windows, so that runs with other edges have the same test pixels
    held_out = round(share * (stop - start))
    spans = (start, stop - held_out - edge), (stop - held_out, stop)
    learnt = spans[0][1] - start
    if held_out < edge or learnt < edge:
        lines = "rows" if by_rows else "columns"
        got = f"{max(0, learnt)} and {held_out} of {stop - start}, {edge} apart"
        raise InputError(f"at least {edge} {lines} to learn from and as many that are held out", got)
    training, test = (replace(part, rows=span) if by_rows else replace(part, columns=span) for span in spans)
    return [training], [test]
