"""Where single variables are, and what the actions of a plan do to them.

A variable of a lattice has a number: site * channels + channel, with sites counted row by row. A few numbers stand
for a small part of a lattice of any size, so that whatever works on them never looks at the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mera.graph.actions import Apply, Cut, Regroup
from mera.graph.lattice import Lattice

__all__ = [
    "Tiling",
    "cell_tiling",
    "check_numbered",
    "event_tiling",
    "mask_of",
    "rearranged",
    "restored",
    "spread",
    "variables_at",
]


@dataclass(frozen=True)
class Tiling:
    """Boxes side by side on a lattice, from `offset` on, `counts` of them in each dimension.

    Where the last boxes stick out over an open border, only `locate` makes sense.
    """

    lattice: Lattice
    box: tuple[int, ...]
    offset: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def variables(self) -> int:
        """Variables in one box."""
        return self.lattice.channels * math.prod(self.box)

    def locate(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each variable its box, its place within, in the order (channel, *sites), and whether it is in a box.

        Where it is in none, its box and place mean nothing.
        """
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
        """The boxes that hold a site, or come within `radius` sites of one in each dimension; sorted.

        One dimension after the other, a site's coordinate becomes those of the boxes that it reaches, and what is
        then the same is kept once.
        """
        shape, coordinates = list(self.lattice.shape), self._shifted(sites)
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
            coordinates = _unravel(_ravel(coordinates, tuple(shape)).unique(), tuple(shape))
        return _ravel(coordinates, self.counts)

    def groups(self, boxes: Tensor, width: int) -> list[Tensor]:
        """All boxes of each group of boxes, `width` wide and aligned with the first, that holds one of these."""
        shape = tuple(-(-count // width) for count in self.counts)
        starts = [c // width for c in _unravel(boxes, self.counts)]
        corners = zip(*(c.tolist() for c in _unravel(_ravel(starts, shape).unique(), shape)), strict=True)
        groups = []
        for corner in corners:
            ranges = [
                torch.arange(c * width, min((c + 1) * width, n)) for c, n in zip(corner, self.counts, strict=True)
            ]
            groups.append(_ravel([axis.flatten() for axis in torch.meshgrid(*ranges, indexing="ij")], self.counts))
        return groups

    def _shifted(self, sites: Tensor) -> list[Tensor]:
        """Coordinates from the first box on."""
        coordinates = _unravel(sites, self.lattice.shape)
        return [
            (c - o) % n if periodic else c - o
            for c, o, n, periodic in zip(
                coordinates, self.offset, self.lattice.shape, self.lattice.periodic, strict=True
            )
        ]


def event_tiling(action: Apply) -> Tiling:
    """The events of a bijector: patches, or for a field the one that is the whole lattice."""
    box = action.event_shape[1:]
    return Tiling(action.lattice, box, action.offset, (1,) * len(box) if action.is_field else action.patches)


def cell_tiling(action: Apply) -> Tiling:
    """The cells of `stride` sites at the positions of a bijector's grid."""
    return Tiling(action.lattice, action.stride, action.offset, action.patches)


def spread(action: Apply, numbers: Tensor) -> Tensor:
    """The variables behind a bijector that depend on these before it, or the other way round; sorted.

    Each position's cell depends on all of its kernel; what is in no cell, or in a passive channel, passes unchanged.
    """
    grid = cell_tiling(action)
    inside = grid.locate(numbers)[2]
    radius = tuple((kernel - stride) // 2 for kernel, stride in zip(action.kernel, action.stride, strict=True))
    positions = grid.near((numbers[inside] // action.lattice.channels).unique(), radius)
    changed = grid.members(positions)[:, action.passive * math.prod(action.stride) :].flatten()
    stays = ~inside | (numbers % action.lattice.channels < action.passive)
    return torch.cat([changed, numbers[stays]]).sort().values


def rearranged(action: Regroup | Cut, numbers: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """For each output of an action that moves variables, which of these go there (bool), and their numbers there."""
    sites, channels = _sites_and_channels(numbers, action.lattice)
    if isinstance(action, Regroup):
        coordinates = _unravel(sites, action.lattice.shape)
        slots = _ravel([c % s for c, s in zip(coordinates, action.stride, strict=True)], action.stride)
        coarse = [c // s for c, s in zip(coordinates, action.stride, strict=True)]
        (lattice,) = action.outputs
        there = _ravel(coarse, lattice.shape) * lattice.channels + slots * action.lattice.channels + channels
        return ((torch.ones_like(there, dtype=torch.bool), there),)
    kept, rest = action.outputs
    goes_on = channels < action.keep
    return (
        (goes_on, sites[goes_on] * kept.channels + channels[goes_on]),
        (~goes_on, sites[~goes_on] * rest.channels + channels[~goes_on] - action.keep),
    )


def restored(action: Regroup | Cut, outputs: Sequence[Tensor]) -> Tensor:
    """The numbers before an action that moves variables, of some in each of its outputs; in no order."""
    if isinstance(action, Regroup):
        (lattice,) = action.outputs
        sites, channels = _sites_and_channels(outputs[0], lattice)
        slots = _unravel(channels // action.lattice.channels, action.stride)
        coarse = _unravel(sites, lattice.shape)
        fine = [c * s + slot for c, s, slot in zip(coarse, action.stride, slots, strict=True)]
        return _ravel(fine, action.lattice.shape) * action.lattice.channels + channels % action.lattice.channels
    before = []
    for numbers, lattice, first in zip(outputs, action.outputs, (0, action.keep), strict=True):
        sites, channels = _sites_and_channels(numbers, lattice)
        before.append(sites * action.lattice.channels + channels + first)
    return torch.cat(before)


def variables_at(sites: Tensor, lattice: Lattice) -> Tensor:
    """All variables at some sites, (channels, sites)."""
    return sites * lattice.channels + torch.arange(lattice.channels)[:, None]


def check_numbered(lattice: Lattice) -> None:
    """Refuse a lattice whose variables are too many to be numbered.

    Raises:
        ValueError: if there are 2^63 or more.
    """
    if lattice.variables >= 2**63:
        raise ValueError(f"Expected a lattice of fewer than 2^63 variables; got {lattice}")


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
