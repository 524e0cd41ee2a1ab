"""The operations of a plan on a lattice: apply a bijector, regroup sites into channels, cut the channels.

An operation holds integers and an einops pattern, but no tensors. It defines how values, the flat indices of variables,
and boxes of sites pass through it in both directions. Executors, cones and streams ask the operation, so
that a new one is a class in this file. Streams take `Regroup` and `Cut` alone, which move variables within cells.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor

from mera.bijectors.boxes import Box, ravel
from mera.graph.indexing import Tiling
from mera.graph.lattice import Lattice, brief

AXES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}
"""The names of the axes of a lattice in einops patterns, by the number of dimensions."""

ENDLESS = 2**60
"""A number of patches that stands for infinity."""


def blocked(dim: int, prefix: str) -> tuple[str, str, str]:
    """Parts of einops patterns: blocked axes "(h kh) (w kw)", block indices "h w", axes within a block "kh kw"."""
    outer = AXES[dim]
    inner = tuple(prefix + axis for axis in outer)
    return " ".join(f"({o} {i})" for o, i in zip(outer, inner, strict=True)), " ".join(outer), " ".join(inner)


class Operation(ABC):
    """One operation of a plan on its `lattice`."""

    lattice: Lattice

    def __post_init__(self) -> None:
        """Derive all cached values now: torch.compile cannot trace their first computation."""
        for name in dir(type(self)):
            if isinstance(getattr(type(self), name), cached_property):
                getattr(self, name)

    @property
    @abstractmethod
    def pattern(self) -> str:
        """The einops pattern from the lattice to the outputs, or a description, for the printed plan."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Lattice, ...]:
        """The lattices that the operation makes."""

    @cached_property
    def inverse_pattern(self) -> str:
        """The pattern of the opposite direction."""
        return " -> ".join(reversed(self.pattern.split(" -> ")))

    @property
    def settings(self) -> tuple[str, str, str, str, str]:
        """Kernel, stride, offset, number of events and pattern, for the printed plan."""
        return "", "" if max(self.cell) == 1 else brief(self.cell), "", "", self.pattern

    @property
    def cell(self) -> tuple[int, ...]:
        """In each dimension, the number of sites of the lattice for one site of an output."""
        return (1,) * self.lattice.dim

    @abstractmethod
    def reached(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The sorted flat indices of the variables of each output that depend on variables of the lattice, (n,)."""

    @abstractmethod
    def reached_back(self, outputs: Sequence[Tensor]) -> Tensor:
        """The sorted flat indices of the variables that depend on variables of the outputs, in an inverse pass."""

    def needed(self, box: Box) -> Box:
        """The box of sites from which a box of sites of the outputs is computed; by default the cells of the sites."""
        return box.refined(self.cell)


class Move(Operation):
    """An operation that only moves variables."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The values of the outputs, from values (B, channels, *sites)."""

    @abstractmethod
    def inverse(self, outputs: Sequence[Tensor]) -> Tensor:
        """The values, from those of the outputs."""

    @abstractmethod
    def map_forward(self, indices: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Move variables with flat indices (n,); see `mera.graph.indexing`.

        Returns:
            For each output: whether each variable moves to it, bool (n,); and the flat indices there of those that do.
        """

    @abstractmethod
    def map_inverse(self, outputs: Sequence[Tensor]) -> Tensor:
        """The flat indices of variables of the lattice, in any order, from those of variables of each output."""

    def reached(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The sorted indices that the variables move to, for each output."""
        return tuple(moved.sort().values for _, moved in self.map_forward(indices))

    def reached_back(self, outputs: Sequence[Tensor]) -> Tensor:
        """The sorted indices that the variables come from."""
        return self.map_inverse(outputs).sort().values


@dataclass(frozen=True)
class Apply(Operation):
    """Apply a local bijector at every position of a grid.

    The grid tiles the lattice with patches, kernel = stride. Each patch is an event, and all patches form one batch. Or
    the bijector is a field bijector, with stride 1: the whole lattice is one event, and each site depends on the
    `kernel` sites around it.

    Args:
        lattice: the lattice that the bijector acts on.
        kernel: for each dimension, the number of sites that one position reads.
        stride: for each dimension, the number of sites between positions.
        offset: for each dimension, the site at which the grid starts.
        passive: the number of first channels that are read but not changed.
        is_field: whether the bijector acts on the whole lattice at once.
    """

    lattice: Lattice
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    passive: int = 0
    is_field: bool = False

    @cached_property
    def radius(self) -> tuple[int, ...]:
        """For each dimension, the number of sites around a cell that the cell depends on."""
        return tuple((kernel - stride) // 2 for kernel, stride in zip(self.kernel, self.stride, strict=True))

    @cached_property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (channels, *kernel) for a patch and (channels, *shape) of the lattice for a field."""
        return self.lattice.event_shape if self.is_field else (self.lattice.channels, *self.kernel)

    @cached_property
    def patches(self) -> tuple[int, ...]:
        """For each dimension, the number of grid positions, without patches that an open border cuts."""
        dimensions = zip(self.lattice.shape, self.stride, self.offset, self.lattice.periodic, strict=True)
        return tuple(n // s if periodic else max(0, (n - o) // s) for n, s, o, periodic in dimensions)

    @cached_property
    def roll(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The rolls of periodic axes after which the grid starts at the first site, and back; the axes are the last."""
        axes = [2 + d for d, o in enumerate(self.offset) if o and self.lattice.periodic[d]]
        there = [-self.offset[axis - 2] for axis in axes]
        return tuple(there), tuple(-n for n in there), tuple(axes)

    @cached_property
    def crop(self) -> tuple[tuple[int, int, int], ...]:
        """The crops of open axes to whole patches, as triples (axis, start, stop); other sites pass unchanged."""
        sizes = enumerate(zip(self.offset, self.patches, self.stride, self.lattice.shape, strict=True), start=2)
        return tuple((axis, o, o + count * s) for axis, (o, count, s, n) in sizes if count * s < n)

    @cached_property
    def pattern(self) -> str:
        """The einops pattern from the lattice to the batch of events."""
        if self.is_field:
            axes = " ".join(AXES[self.lattice.dim])
            return f"b c {axes} -> b c {axes}"
        blocks, outer, inner = blocked(self.lattice.dim, "k")
        return f"b c {blocks} -> (b {outer}) c {inner}"

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The lengths of the pattern's axes, for both directions."""
        axes = AXES[self.lattice.dim]
        if self.is_field:
            return dict(zip(axes, self.lattice.shape, strict=True))
        inner = tuple("k" + axis for axis in axes)
        return dict(zip(axes + inner, self.patches + self.kernel, strict=True))

    @cached_property
    def events(self) -> int:
        """The number of events in one sample."""
        return 1 if self.is_field else math.prod(self.patches)

    @cached_property
    def outputs(self) -> tuple[Lattice, ...]:
        """The lattice itself; a bijector does not change its shape."""
        return (self.lattice,)

    @property
    def settings(self) -> tuple[str, str, str, str, str]:
        """Kernel, stride, offset, number of events and pattern, for the printed plan."""
        pattern = self.pattern + (f" (c: {self.passive} stay)" if self.passive else "")
        events = "field" if self.is_field else str(self.events)
        return brief(self.kernel), brief(self.stride), brief(self.offset), events, pattern

    def gather(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gather the events of values (B, channels, *shape), with any number of channels, in one batch.

        Returns:
            The events (B * events, *event_shape); and the values before each crop at an open border, since events do
            not contain the variables outside of the crop.
        """
        there, _, axes = self.roll
        x = torch.roll(x, there, axes) if axes else x
        outer = [x]
        for axis, start, stop in self.crop:
            outer.append(outer[-1].narrow(axis, start, stop - start))
        return rearrange(outer.pop(), self.pattern, **self.sizes), outer

    def scatter(self, events: Tensor, outer: list[Tensor], batch: int) -> Tensor:
        """Write events back to their sites: the inverse of `gather`, for `batch` samples."""
        x = rearrange(events, self.inverse_pattern, b=batch, **self.sizes)
        for axis, start, stop in reversed(self.crop):
            x = torch.slice_scatter(outer.pop(), x, axis, start, stop)
        _, back, axes = self.roll
        return torch.roll(x, back, axes) if axes else x

    @property
    def event_tiling(self) -> Tiling:
        """The boxes of the events, which are patches, or the whole lattice for a field bijector."""
        box = self.event_shape[1:]
        return Tiling(self.lattice, box, self.offset, (1,) * len(box) if self.is_field else self.patches)

    @property
    def cell_tiling(self) -> Tiling:
        """The cells of `stride` sites at the positions of the grid, as boxes."""
        return Tiling(self.lattice, self.stride, self.offset, self.patches)

    def reached(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The sorted flat indices of the outputs that depend on inputs with sorted flat indices (n,).

        The cell at each position of the grid depends on the whole kernel around the cell; a variable outside of all
        cells, or in a passive channel, does not change.
        """
        grid, channels = self.cell_tiling, self.lattice.channels
        sites = indices // channels
        stays = ~grid.contains(sites)
        positions = grid.near(sites[~stays].unique_consecutive(), self.radius)
        reached = grid.sites(positions).flatten().sort().values
        changed = (reached[:, None] * channels + torch.arange(self.passive, channels)).flatten()
        stays |= indices % channels < self.passive
        return (torch.cat([changed, indices[stays]]).sort().values if stays.any() else changed,)

    def reached_back(self, outputs: Sequence[Tensor]) -> Tensor:
        """The inputs that depend on outputs in an inverse pass: the same relation as in a forward pass."""
        return self.reached(outputs[0])[0]

    def needed(self, box: Box) -> Box:
        """The box with all patches that it meets, or with all sites that a field bijector reads for the box."""
        if self.is_field:
            return box.grown(self.radius, self.lattice)
        spans = []
        for a, b, k, (first, last) in zip(box.start, box.stop, self.kernel, self._patched, strict=True):
            start = a if a < first or a >= last else first + (a - first) // k * k
            spans.append((start, b if b <= first or b > last else first - (first - b) // k * k))
        return Box.of(spans)

    def on_box(self, box: Box) -> Apply:
        """The patches of a box from `needed` as an operation on its sites alone, with the open borders of the box."""
        offset = tuple(max(first - a, 0) for a, (first, _) in zip(box.start, self._patched, strict=True))
        return replace(self, lattice=Lattice(self.lattice.channels, box.shape, (False,) * len(offset)), offset=offset)

    @property
    def _patched(self) -> list[tuple[int, int]]:
        """For each dimension the first site in a patch, and the site after the last; a periodic axis has no ends."""
        sizes = zip(self.offset, self.kernel, self.patches, self.lattice.periodic, strict=True)
        return [(o - ENDLESS * k, o + ENDLESS * k) if periodic else (o, o + n * k) for o, k, n, periodic in sizes]


@dataclass(frozen=True)
class Regroup(Move):
    """Space to channels: the sites of each cell become channels of one site, with the cell's first site first.

    Args:
        lattice: the fine lattice.
        stride: for each dimension, the number of sites in a cell.
    """

    lattice: Lattice
    stride: tuple[int, ...]

    @cached_property
    def pattern(self) -> str:
        """The einops pattern from the fine to the coarse lattice."""
        blocks, outer, inner = blocked(self.lattice.dim, "s")
        return f"b c {blocks} -> b ({inner} c) {outer}"

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The lengths of the pattern's axes within a cell."""
        return dict(zip(("s" + axis for axis in AXES[self.lattice.dim]), self.stride, strict=True))

    @cached_property
    def outputs(self) -> tuple[Lattice, ...]:
        """The coarse lattice, whose sites have the channels of all sites of a cell."""
        shape = tuple(n // s for n, s in zip(self.lattice.shape, self.stride, strict=True))
        return (replace(self.lattice, channels=self.lattice.channels * math.prod(self.stride), shape=shape),)

    @property
    def cell(self) -> tuple[int, ...]:
        """The stride."""
        return self.stride

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Sites of a cell become channels."""
        return (rearrange(x, self.pattern, **self.sizes),)

    def inverse(self, outputs: Sequence[Tensor]) -> Tensor:
        """Channels become sites of a cell."""
        return rearrange(outputs[0], self.inverse_pattern, **self.sizes)

    def map_forward(self, indices: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The place of a site in its cell becomes the first part of the channel."""
        sites, channels = indices // self.lattice.channels, indices % self.lattice.channels
        coordinates = torch.unravel_index(sites, self.lattice.shape)
        slots = ravel([c % s for c, s in zip(coordinates, self.stride, strict=True)], self.stride)
        coarse = [c // s for c, s in zip(coordinates, self.stride, strict=True)]
        (lattice,) = self.outputs
        moved = ravel(coarse, lattice.shape) * lattice.channels + slots * self.lattice.channels + channels
        return ((torch.ones_like(moved, dtype=torch.bool), moved),)

    def map_inverse(self, outputs: Sequence[Tensor]) -> Tensor:
        """The first part of the channel becomes the place of a site in its cell."""
        (lattice,), channels_before = self.outputs, self.lattice.channels
        sites, channels = outputs[0] // lattice.channels, outputs[0] % lattice.channels
        slots = torch.unravel_index(channels // channels_before, self.stride)
        coarse = torch.unravel_index(sites, lattice.shape)
        fine = [c * s + slot for c, s, slot in zip(coarse, self.stride, slots, strict=True)]
        return ravel(fine, self.lattice.shape) * channels_before + channels % channels_before


@dataclass(frozen=True)
class Cut(Move):
    """Cut the channels in two: the first `keep` channels, and the remaining channels.

    Args:
        lattice: the lattice before the cut.
        keep: the number of channels of the first output.
    """

    lattice: Lattice
    keep: int

    @cached_property
    def pattern(self) -> str:
        """The description of the cut in the printed plan."""
        return f"c -> {self.keep} + {self.lattice.channels - self.keep}"

    @cached_property
    def outputs(self) -> tuple[Lattice, ...]:
        """The lattice with the kept channels, and the lattice with the remaining channels."""
        return tuple(replace(self.lattice, channels=n) for n in (self.keep, self.lattice.channels - self.keep))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The first channels, and the remaining ones."""
        return x.tensor_split((self.keep,), 1)

    def inverse(self, outputs: Sequence[Tensor]) -> Tensor:
        """The channels of both outputs."""
        return torch.cat(list(outputs), dim=1)

    def map_forward(self, indices: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Each variable goes to the output of its channel."""
        sites, channels = indices // self.lattice.channels, indices % self.lattice.channels
        kept, rest = self.outputs
        is_kept = channels < self.keep
        return (
            (is_kept, sites[is_kept] * kept.channels + channels[is_kept]),
            (~is_kept, sites[~is_kept] * rest.channels + channels[~is_kept] - self.keep),
        )

    def map_inverse(self, outputs: Sequence[Tensor]) -> Tensor:
        """The channels of the second output follow those of the first."""
        inputs = []
        for indices, lattice, first in zip(outputs, self.outputs, (0, self.keep), strict=True):
            sites, channels = indices // lattice.channels, indices % lattice.channels
            inputs.append(sites * self.lattice.channels + channels + first)
        return torch.cat(inputs)
