"""Flat indices of the variables of a lattice, and boxes of sites side by side.

The flat index of a variable is site * channels + channel, with sites counted row by row. Every function takes the flat
indices of a part of a lattice, and its cost does not depend on the size of the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mera.bijectors.boxes import ravel
from mera.graph.lattice import Lattice


@dataclass(frozen=True)
class Tiling:
    """Boxes of sites side by side on a lattice.

    If the last boxes reach beyond the edge of the lattice, only `locate` and `contains` give meaningful results.

    Args:
        lattice: the lattice.
        box: for each dimension the number of sites along the edge of a box.
        offset: for each dimension the coordinate at which the first box starts.
        counts: for each dimension the number of boxes.
    """

    lattice: Lattice
    box: tuple[int, ...]
    offset: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def variables(self) -> int:
        """The number of variables in one box."""
        return self.lattice.channels * math.prod(self.box)

    def locate(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the boxes of variables with flat indices (n,).

        Returns:
            Three tensors (n,): the flat index of the box; the index of the variable within the box, in the order
            (channel, *sites); and whether the variable is in a box. If it is not, the first two are meaningless.
        """
        sites, channels = indices // self.lattice.channels, indices % self.lattice.channels
        coordinates = self._shifted(sites)
        boxes = [coordinate // box for coordinate, box in zip(coordinates, self.box, strict=True)]
        places = [coordinate % box for coordinate, box in zip(coordinates, self.box, strict=True)]
        within = channels * math.prod(self.box) + ravel(places, self.box)
        return ravel(boxes, self.counts), within, self.contains(sites)

    def contains(self, sites: Tensor) -> Tensor:
        """Return whether each of the sites with flat indices (n,) is in a box: bool, (n,)."""
        is_covered = torch.ones_like(sites, dtype=torch.bool)
        covered = [count * box for count, box in zip(self.counts, self.box, strict=True)]
        if covered == list(self.lattice.shape):
            return is_covered
        for coordinate, length in zip(self._shifted(sites), covered, strict=True):
            is_covered &= (coordinate >= 0) & (coordinate < length)
        return is_covered

    def members(self, boxes: Tensor) -> Tensor:
        """The flat indices (n_boxes, variables) of the variables in boxes with flat indices (n_boxes,).

        The variables of a box are in the order (channel, *sites).
        """
        channels = self.lattice.channels
        return (self.sites(boxes)[:, None, :] * channels + torch.arange(channels)[:, None]).flatten(1)

    def sites(self, boxes: Tensor) -> Tensor:
        """The flat indices (n_boxes, n_sites) of the sites in boxes with flat indices (n_boxes,), row by row."""
        corners = torch.unravel_index(boxes, self.counts)
        places = torch.unravel_index(torch.arange(math.prod(self.box)), self.box)
        coordinates = [
            (corner[:, None] * self.box[d] + place + self.offset[d]) % self.lattice.shape[d]
            for d, (corner, place) in enumerate(zip(corners, places, strict=True))
        ]
        return ravel(coordinates, self.lattice.shape)

    def near(self, sites: Tensor, radius: tuple[int, ...]) -> Tensor:
        """Find the boxes within a distance of sites (n,); returns the sorted flat indices of the boxes, (n_boxes,).

        `radius` is for each dimension the largest distance from a site to the nearest site of a box. One dimension
        after the other, the coordinate of a site is replaced by the coordinates of the boxes that the site reaches,
        without duplicates.
        """
        shape: list[int] = list(self.lattice.shape)
        coordinates: list[Tensor] = self._shifted(sites)
        for d, (reach, box, count) in enumerate(zip(radius, self.box, self.counts, strict=True)):
            low, high = (coordinates[d] - reach) // box, (coordinates[d] + reach) // box
            if not self.lattice.periodic[d]:
                low, high = low.clamp(min=0), high.clamp(max=count - 1)
            width = (2 * reach + box - 1) // box + 1  # the most boxes that 2 reach + 1 sites in a row can meet
            grown = low[:, None] + torch.arange(min(width, count))
            reached = grown <= high[:, None]
            grown = grown % count
            coordinates = [c[:, None].expand_as(grown)[reached] for c in coordinates]
            coordinates[d], shape[d] = grown[reached], count
            coordinates = list(torch.unravel_index(ravel(coordinates, tuple(shape)).unique(), tuple(shape)))
        return ravel(coordinates, self.counts)

    def _shifted(self, sites: Tensor) -> list[Tensor]:
        """The coordinates of sites, counted from the corner of the first box, one tensor for each dimension."""
        shape = self.lattice.shape
        dimensions = zip(torch.unravel_index(sites, shape), self.offset, shape, self.lattice.periodic, strict=True)
        return [(c - o) % n if periodic else c - o for c, o, n, periodic in dimensions]


def indices_at(sites: Tensor, lattice: Lattice) -> Tensor:
    """The flat indices (channels, n) of all variables at sites with flat indices (n,)."""
    return sites * lattice.channels + torch.arange(lattice.channels)[:, None]


def mask_from_sites(sites: Tensor, lattice: Lattice) -> Tensor:
    """A bool mask of the lattice's shape that is true at the sites with flat indices (n,)."""
    mask = torch.from_numpy(np.zeros(lattice.sites, dtype=bool))  # numpy allocates pages only when they are touched
    mask[sites] = True
    return mask.view(lattice.shape)
