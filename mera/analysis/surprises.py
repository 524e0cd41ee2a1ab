"""Surprising parts of pictures, found by a flow and by medians: spots such as dust, and regions such as noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from mera._utils.checks import check_count, check_positive
from mera._utils.errors import InputError
from mera._utils.table import Table
from mera.analysis.pictures import PictureLike, as_source, map_picture
from mera.flow.flow import Flow

if TYPE_CHECKING:
    from mera.drawing.figures import Picture

AROUND = 21
"""The edge, in cells, of the square around a cell in which medians are taken."""
NEAR = 5, 9
"""The edges, in pixels, of the medians that pixels are compared with: for lines of 1 or 2 pixels, and wider ones."""
LEAST_NEAR = 2.0
"""The least deviation of a pixel of a spot from the medians around it."""
REGION = 9
"""The edge, in cells, of the square over which the surprise of a region is averaged."""
BOUNDS = {"spot": 3.0, "region": 1.0}
"""The deviations above which sites belong to a spot or to a region."""


@dataclass(frozen=True)
class Surprise:
    """A surprising part of a picture.

    Args:
        kind: "spot" or "region".
        rows: its first row, and the row after its last one.
        columns: its first column, and the column after its last one.
        pixels: the number of its pixels.
        score: the sum of the deviations of its pixels beyond their bound, over the root of the number of the pixels.
    """

    kind: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    pixels: int
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Surprises:
    """The surprising parts of a picture, the most surprising one first; they print as a table.

    Args:
        image: the picture, (C, H, W) uint8.
        mask: the pixels of all parts, bool (H, W): what `Flow.inpaint` would fill.
        parts: the parts.
    """

    image: Tensor
    mask: Tensor
    parts: tuple[Surprise, ...]

    def figure(self) -> Picture:
        """The picture with a box around each part, numbered as in the table."""
        from mera.drawing.images import boxed  # late: matplotlib takes a second

        return boxed(self.image, [(part.rows, part.columns) for part in self.parts])

    def _repr_png_(self) -> bytes | None:
        return self.figure()._repr_png_()

    def __repr__(self) -> str:
        header = ["", "what", "rows", "columns", "pixels", "score"]
        rows = []
        for number, part in enumerate(self.parts, 1):
            spans = [f"{start}:{stop}" for start, stop in (part.rows, part.columns)]
            rows.append((number, part.kind, *spans, f"{part.pixels:,}", f"{part.score:.0f}"))
        return str(Table(header, rows)) if rows else "nothing surprises"


def find_surprises(
    flow: Flow, picture: PictureLike, *, most: int = 10, score: float = 10.0, longest: int | None = None, **options: Any
) -> Surprises:
    """Find the surprising parts of a picture: candidates for dust, scratches, noise and whatever is unlike the rest.

    The surprise of a cell is minus the part of log p of level 0 (`Streamed.even_map`), in robust standard deviations
    (1.48 times the median deviation) from the median of the 21 x 21 cells around. Pixels of a spot surprise, and differ
    from the median of the pixels around: the geometric mean of both deviations is above 3, and the second above 2.
    Regions surprise by more than 1 on average over 9 x 9 cells, where cells of spots count as 0. Coarser levels add
    nothing to either. Connected pixels are one part; of parts that share pixels, the one with the highest score is
    kept. What fits its surroundings, as a clone does, is not found; stars and lights are.

    Args:
        flow: the flow, on two dimensions, which learnt images.
        picture: the path of a picture, or pixels (C, H, W) uint8.
        most: the largest number of parts.
        score: the lowest score of a part; see `Surprise`.
        longest: the pixels of the longer edge to which the picture is reduced; None for 960 if it is a path, and for
            all pixels of arrays.
        options: those of `Flow.stream`: `tile`, `seed`, `console`.

    Raises:
        ValueError: if the picture has no 8-bit pixels.
    """
    most, least_score = check_count(most, "parts"), check_positive(score, "score")
    source = as_source(picture, flow.plan.input.channels, longest)
    image = torch.as_tensor(source[:, :, :])
    if image.dtype != torch.uint8:
        raise InputError("a picture of 8-bit pixels", str(image.dtype))
    result = map_picture(flow, image, **options)
    levels, size, cell = result.streamed.even_map(0).numpy(), result.shape, result.sites[0]
    added = [(0, n - m) for n, m in zip(levels.shape, size, strict=True)]
    grey = np.pad(image.double().mean(0).numpy(), added, mode="reflect")
    surprise = _deviations(-_pooled(levels, cell), AROUND, 1, 1e-6)
    near = np.maximum(*(np.abs(_deviations(grey, edge, cell, 0.5)) for edge in NEAR))
    spots = np.sqrt(_enlarged(ndimage.maximum_filter(surprise, 3), cell).clip(0) * near) * (near > LEAST_NEAR)
    inside = tuple(slice(n) for n in size)
    found = _parts("spot", spots[inside], least_score)
    for part, sites in found:  # regions surprise without the spots, too
        rows, columns = (start[0] + at for start, at in zip((part.rows, part.columns), sites.nonzero(), strict=True))
        surprise[rows // cell, columns // cell] = 0
    regions = _enlarged(ndimage.uniform_filter(surprise, REGION), cell)
    found += _parts("region", regions[inside], least_score)
    parts, mask = list[Surprise](), np.zeros(size, bool)
    for part, sites in sorted(found, key=lambda pair: -pair[0].score):
        box = mask[slice(*part.rows), slice(*part.columns)]
        if len(parts) < most and not (box & sites).any():  # else a part of a higher score covers it
            parts.append(part)
            box |= sites
    return Surprises(image, torch.from_numpy(mask), tuple(parts))


def _parts(kind: str, values: np.ndarray, least_score: float) -> list[tuple[Surprise, np.ndarray]]:
    """The connected parts above the bound of their kind, and the sites of each within its box."""
    eight = np.ones((3, 3), int)
    above = values > BOUNDS[kind]
    labels, count = ndimage.label(above, eight)
    numbers = np.arange(1, count + 1)
    sums = ndimage.sum_labels(values - BOUNDS[kind], labels, numbers)
    scores = sums / np.sqrt(ndimage.sum_labels(above, labels, numbers))
    found = []
    for number in numbers[scores >= least_score]:
        sites = labels == number
        if kind == "spot":
            sites = ndimage.binary_dilation(sites, eight)  # the soft edge of a spot
        ((box),) = ndimage.find_objects(sites.astype(int))
        spans = [(int(span.start), int(span.stop)) for span in box]
        part = Surprise(kind, spans[0], spans[1], int(sites.sum()), float(scores[number - 1]))
        found.append((part, sites[box]))
    return found


def _deviations(values: np.ndarray, edge: int, cell: int, least: float) -> np.ndarray:
    """Values minus the median of the square around each, in robust standard deviations of the cells around it."""
    excess = values - ndimage.median_filter(values, edge, mode="reflect")
    sizes = 1.4826 * _pooled(np.abs(excess), cell)
    spread = ndimage.median_filter(sizes, AROUND, mode="reflect")
    return excess / _enlarged(np.maximum(spread, np.median(sizes) / 2 + least), cell)


def _pooled(values: np.ndarray, cell: int) -> np.ndarray:
    """The means over square cells."""
    height, width = values.shape
    return values.reshape(height // cell, cell, width // cell, cell).mean((1, 3))


def _enlarged(values: np.ndarray, cell: int) -> np.ndarray:
    """Each value over the sites of its cell."""
    return values.repeat(cell, 0).repeat(cell, 1)
