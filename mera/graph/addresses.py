"""Where single variables are, and what the actions of a plan do to them.

A variable of a lattice has a number: site * channels + channel, with sites counted row by row. A few numbers stand
for a small part of a lattice of any size, so that whatever works on them never looks at the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mera.graph.actions import Apply, Cut, Regroup
from mera.graph.lattice import Lattice

__all__ = [
    "Tiling",
    "cells",
    "count_variables",
    "cut",
    "events",
    "join",
    "mask_of",
    "regroup",
    "spread",
    "ungroup",
    "variables_at",
]

MOST_VARIABLES = 2**63 - 1


@dataclass(frozen=True)
class Tiling:
    """Boxes side by side on a lattice, from `offset` on, `counts` of them in each dimension."""

    lattice: Lattice
    box: tuple[int, ...]
    offset: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def variables(self) -> int:
        """Variables in one box."""
        return self.lattice.channels * math.prod(self.box)

    def locate(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each variable its box, its place within, in the order (channel, *sites), and whether it is in a box."""
        sites, channels = _sites_and_channels(numbers, self.lattice)
        boxes, places = [], []
        inside = torch.ones_like(numbers, dtype=torch.bool)
        for d, coordinate in enumerate(self._shifted(sites)):
            inside &= (coordinate >= 0) & (coordinate < self.counts[d] * self.box[d])
            boxes.append(coordinate // self.box[d])
            places.append(coordinate % self.box[d])
        within = channels * math.prod(self.box) + _ravel(places, self.box)
        return _ravel(boxes, self.counts), within, inside

    def members(self, boxes: Tensor) -> Tensor:
        """The variables of some boxes, (boxes, variables), each row in the order (channel, *sites)."""
        corners = _unravel(boxes, self.counts)
        places = _unravel(torch.arange(math.prod(self.box)), self.box)
        coordinates = [
            (corner[:, None] * self.box[d] + place + self.offset[d]) % self.lattice.shape[d]
            for d, (corner, place) in enumerate(zip(corners, places, strict=True))
        ]
        sites = _ravel(coordinates, self.lattice.shape)
        return (sites[:, None, :] * self.lattice.channels + torch.arange(self.lattice.channels)[:, None]).flatten(1)

    def near(self, sites: Tensor, radius: tuple[int, ...]) -> Tensor:
        """The boxes that hold a site, or come within `radius` sites of one in each dimension; sorted."""
        shape, coordinates = list(self.lattice.shape), self._shifted(sites)
        for d, (reach, box, count) in enumerate(zip(radius, self.box, self.counts, strict=True)):
            low, high = (coordinates[d] - reach) // box, (coordinates[d] + reach) // box
            if not self.lattice.periodic[d]:
                low, high = low.clamp(min=0), high.clamp(max=count - 1)
            width = (2 * reach + box - 1) // box + 1
            grown = low[:, None] + torch.arange(min(width, count))
            reached = grown <= high[:, None]
            grown = grown % count
            coordinates = [c[:, None].expand_as(grown)[reached] for c in coordinates]
            coordinates[d], shape[d] = grown[reached], count
            coordinates = _unravel(_ravel(coordinates, tuple(shape)).unique(), tuple(shape))
        return _ravel(coordinates, self.counts)

    def blocks(self, boxes: Tensor, width: int) -> list[Tensor]:
        """All boxes of each block of boxes, `width` wide and aligned with the first, that holds one of these."""
        shape = tuple(-(-count // width) for count in self.counts)
        starts = [c // width for c in _unravel(boxes, self.counts)]
        corners = zip(*(c.tolist() for c in _unravel(_ravel(starts, shape).unique(), shape)), strict=True)
        blocks = []
        for corner in corners:
            ranges = [
                torch.arange(c * width, min((c + 1) * width, n)) for c, n in zip(corner, self.counts, strict=True)
            ]
            blocks.append(_ravel([axis.flatten() for axis in torch.meshgrid(*ranges, indexing="ij")], self.counts))
        return blocks

    def _shifted(self, sites: Tensor) -> list[Tensor]:
        """Coordinates from the first box on."""
        coordinates = _unravel(sites, self.lattice.shape)
        return [
            (c - o) % n if periodic else c - o
            for c, o, n, periodic in zip(
                coordinates, self.offset, self.lattice.shape, self.lattice.periodic, strict=True
            )
        ]


def events(action: Apply) -> Tiling:
    """The events of a bijector: patches, or for a field the one that is the whole lattice."""
    box = action.event_shape[1:]
    return Tiling(action.lattice, box, action.offset, (1,) * len(box) if action.is_field else action.patches)


def cells(action: Apply) -> Tiling:
    """The cells of `stride` sites at the positions of a bijector's grid."""
    return Tiling(action.lattice, action.stride, action.offset, action.patches)


def spread(action: Apply, numbers: Tensor) -> Tensor:
    """The variables behind a bijector that depend on these before it, or the other way round; sorted.

    Each position's cell depends on all of its kernel; what is in no cell passes unchanged.
    """
    grid = cells(action)
    inside = grid.locate(numbers)[2]
    radius = tuple((kernel - stride) // 2 for kernel, stride in zip(action.kernel, action.stride, strict=True))
    positions = grid.near((numbers[inside] // action.lattice.channels).unique(), radius)
    return torch.cat([grid.members(positions).flatten(), numbers[~inside]]).sort().values


def regroup(action: Regroup, numbers: Tensor) -> Tensor:
    """Numbers behind a regrouping, in the order given."""
    sites, channels = _sites_and_channels(numbers, action.lattice)
    coordinates = _unravel(sites, action.lattice.shape)
    coarse = [c // s for c, s in zip(coordinates, action.stride, strict=True)]
    slots = _ravel([c % s for c, s in zip(coordinates, action.stride, strict=True)], action.stride)
    (lattice,) = action.outputs
    return _ravel(coarse, lattice.shape) * lattice.channels + slots * action.lattice.channels + channels


def ungroup(action: Regroup, numbers: Tensor) -> Tensor:
    """Numbers before a regrouping, in the order given."""
    (lattice,) = action.outputs
    sites, channels = _sites_and_channels(numbers, lattice)
    slots = _unravel(channels // action.lattice.channels, action.stride)
    coarse = _unravel(sites, lattice.shape)
    fine = [c * s + slot for c, s, slot in zip(coarse, action.stride, slots, strict=True)]
    return _ravel(fine, action.lattice.shape) * action.lattice.channels + channels % action.lattice.channels


def cut(action: Cut, numbers: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """For each of the two outputs, which of the variables go there, and their numbers there."""
    sites, channels = _sites_and_channels(numbers, action.lattice)
    kept = channels < action.keep
    rest = action.lattice.channels - action.keep
    return (
        (kept, sites[kept] * action.keep + channels[kept]),
        (~kept, sites[~kept] * rest + channels[~kept] - action.keep),
    )


def join(action: Cut, kept: Tensor, rest: Tensor) -> Tensor:
    """Numbers before a cut, from those in its two outputs; sorted."""
    first, second = action.outputs
    parts = [
        numbers // lattice.channels * action.lattice.channels + numbers % lattice.channels + start
        for numbers, lattice, start in ((kept, first, 0), (rest, second, action.keep))
    ]
    return torch.cat(parts).sort().values


def variables_at(sites: Tensor, lattice: Lattice) -> Tensor:
    """All variables at some sites, (channels, sites)."""
    return sites * lattice.channels + torch.arange(lattice.channels)[:, None]


def count_variables(lattice: Lattice) -> int:
    """How many variables a lattice holds.

    Raises:
        ValueError: if they are too many to be numbered.
    """
    count = lattice.channels * lattice.sites
    if count > MOST_VARIABLES:
        raise ValueError(f"Expected a lattice of less than 2^63 variables; got {lattice}")
    return count


def mask_of(sites: Tensor, lattice: Lattice) -> Tensor:
    """A bool mask of the lattice's shape, true at some sites."""
    mask = torch.from_numpy(np.zeros(lattice.sites, dtype=bool))  # numpy leaves what is never touched to the system
    mask[sites] = True
    return mask.view(lattice.shape)


def _sites_and_channels(numbers: Tensor, lattice: Lattice) -> tuple[Tensor, Tensor]:
    return numbers // lattice.channels, numbers % lattice.channels


def _unravel(index: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """Row-by-row index to coordinates."""
    coordinates = []
    for n in reversed(shape):
        coordinates.append(index % n)
        index = index // n
    return coordinates[::-1]


def _ravel(coordinates: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Coordinates to row-by-row index."""
    index = torch.zeros_like(coordinates[0])
    for coordinate, n in zip(coordinates, shape, strict=True):
        index = index * n + coordinate
    return index
