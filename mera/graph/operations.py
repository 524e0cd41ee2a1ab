"""The three operations of a plan on a lattice: apply a bijector, regroup sites into channels, cut the channels.

An operation holds integers and an einops pattern, but no tensors; derived values are cached. All code that reads a plan
(executors, cones, tables, drawings) matches these three operations, and ends with `assert_never` for any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mera.graph.lattice import Lattice

AXES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}
"""The names of the axes of a lattice in einops patterns, by the number of dimensions."""


class _Derived:
    """Values that are derived once, when an operation is made; torch.compile cannot trace their first computation."""

    pattern: Any

    def __post_init__(self) -> None:
        for name in dir(type(self)):
            if isinstance(getattr(type(self), name), cached_property):
                getattr(self, name)

    @cached_property
    def inverse_pattern(self) -> str:
        """The pattern of the opposite direction."""
        return " -> ".join(reversed(self.pattern.split(" -> ")))


def _blocked(dim: int, prefix: str) -> tuple[str, str, str]:
    """Parts of einops patterns: blocked axes "(h kh) (w kw)", block indices "h w", axes within a block "kh kw"."""
    outer = AXES[dim]
    inner = tuple(prefix + axis for axis in outer)
    return " ".join(f"({o} {i})" for o, i in zip(outer, inner, strict=True)), " ".join(outer), " ".join(inner)


@dataclass(frozen=True)
class Apply(_Derived):
    """Apply a local bijector at every position of a grid.

    With kernel = stride the grid tiles the lattice with patches. Each patch is an event, and all patches form one
    batch. With kernel > stride the bijector is a field bijector: the whole lattice is one event, and the `stride` sites
    at a grid position depend on the `kernel` sites around them.

    Args:
        lattice: the lattice that the bijector acts on.
        kernel: for each dimension, the number of sites that one position reads.
        stride: for each dimension, the number of sites between positions.
        offset: for each dimension, the site at which the grid starts.
        passive: the number of first channels that are read but not changed.
    """

    lattice: Lattice
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    passive: int = 0

    @cached_property
    def is_field(self) -> bool:
        """Whether the bijector acts on the whole lattice at once."""
        return self.kernel != self.stride

    @cached_property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event: (channels, *kernel) for a patch, (channels, *shape) of the lattice for a field."""
        return self.lattice.event_shape if self.is_field else (self.lattice.channels, *self.kernel)

    @cached_property
    def patches(self) -> tuple[int, ...]:
        """For each dimension, the number of grid positions, without patches that an open border cuts."""
        dimensions = zip(self.lattice.shape, self.stride, self.offset, self.lattice.periodic, strict=True)
        return tuple(n // s - (0 if periodic or not o else 1) for n, s, o, periodic in dimensions)

    @cached_property
    def roll(self) -> tuple[tuple[int, int], ...]:
        """The rolls of periodic axes after which the grid starts at the first site, as pairs (axis, sites)."""
        return tuple((2 + d, o) for d, o in enumerate(self.offset) if o and self.lattice.periodic[d])

    @cached_property
    def crop(self) -> tuple[tuple[int, int, int], ...]:
        """The crops of open axes to whole patches, as triples (axis, start, stop); other sites pass unchanged."""
        return tuple(
            (2 + d, o, o + self.patches[d] * self.stride[d])
            for d, o in enumerate(self.offset)
            if o and not self.lattice.periodic[d]
        )

    @cached_property
    def pattern(self) -> str:
        """The einops pattern from the lattice to the batch of events."""
        if self.is_field:
            axes = " ".join(AXES[self.lattice.dim])
            return f"b c {axes} -> b c {axes}"
        blocks, outer, inner = _blocked(self.lattice.dim, "k")
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


@dataclass(frozen=True)
class Regroup(_Derived):
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
        blocks, outer, inner = _blocked(self.lattice.dim, "s")
        return f"b c {blocks} -> b ({inner} c) {outer}"

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The lengths of the pattern's axes within a cell."""
        return dict(zip(("s" + axis for axis in AXES[self.lattice.dim]), self.stride, strict=True))

    @cached_property
    def outputs(self) -> tuple[Lattice, ...]:
        """The coarse lattice."""
        return (self.lattice.coarsen(self.stride),)


@dataclass(frozen=True)
class Cut(_Derived):
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


Operation = Apply | Regroup | Cut
