"""The three things a plan can do to a lattice: apply a bijector, regroup sites into channels, cut channels.

An action is geometry only: integers and an einops pattern, no tensors. Everything that reads a plan (executor,
table, drawing) is written against these three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mera.graph.lattice import Lattice

__all__ = ["Action", "Apply", "Cut", "Regroup"]

AXES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}


def _blocked(dim: int, prefix: str) -> tuple[str, str, str]:
    """Three einops fragments: blocked axes "(h kh) (w kw)", block indices "h w", axes within a block "kh kw"."""
    outer = AXES[dim]
    inner = tuple(prefix + axis for axis in outer)
    return " ".join(f"({o} {i})" for o, i in zip(outer, inner, strict=True)), " ".join(outer), " ".join(inner)


@dataclass(frozen=True)
class Apply:
    """A local bijector at every position of a grid of `stride` sites that starts at `offset`.

    With kernel = stride each patch is an event of its own, and all patches form one batch. With kernel > stride
    the whole lattice is one event (a field), and the `stride` sites at a grid position depend on the `kernel`
    sites around them. A tile is the case in which the two coincide.

    The first `passive` channels are read and stay as they are.
    """

    lattice: Lattice
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    passive: int = 0

    @property
    def is_field(self) -> bool:
        """Whether the bijector acts on the whole lattice at once."""
        return self.kernel != self.stride

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of what the bijector receives: (channels, *kernel) for a patch, the lattice's for a field."""
        return self.lattice.event_shape if self.is_field else (self.lattice.channels, *self.kernel)

    @property
    def patches(self) -> tuple[int, ...]:
        """Grid positions in each dimension. Where the lattice is open, a patch cut by the border is no patch."""
        return tuple(
            n // s - (0 if periodic or not o else 1)
            for n, s, o, periodic in zip(
                self.lattice.shape, self.stride, self.offset, self.lattice.periodic, strict=True
            )
        )

    @property
    def roll(self) -> tuple[tuple[int, int], ...]:
        """(axis, sites): the periodic tensor axes to roll so that the grid starts at the first site."""
        return tuple((2 + d, o) for d, o in enumerate(self.offset) if o and self.lattice.periodic[d])

    @property
    def crop(self) -> tuple[tuple[int, int, int], ...]:
        """(axis, start, stop): the open tensor axes to crop to whole patches; what is cropped passes unchanged."""
        return tuple(
            (2 + d, o, o + self.patches[d] * self.stride[d])
            for d, o in enumerate(self.offset)
            if o and not self.lattice.periodic[d]
        )

    @property
    def pattern(self) -> str:
        """einops pattern from the lattice to the batch of events."""
        if self.is_field:
            axes = " ".join(AXES[self.lattice.dim])
            return f"b c {axes} -> b c {axes}"
        blocks, outer, inner = _blocked(self.lattice.dim, "k")
        return f"b c {blocks} -> (b {outer}) c {inner}"

    @property
    def sizes(self) -> dict[str, int]:
        """The pattern's axes, both for the way there and the way back."""
        axes = AXES[self.lattice.dim]
        if self.is_field:
            return dict(zip(axes, self.lattice.shape, strict=True))
        inner = tuple("k" + axis for axis in axes)
        return dict(zip(axes + inner, self.patches + self.kernel, strict=True))

    @property
    def events(self) -> int:
        """Events in one sample."""
        return 1 if self.is_field else math.prod(self.patches)

    @property
    def outputs(self) -> tuple[Lattice, ...]:
        """A bijector leaves the lattice as it is."""
        return (self.lattice,)


@dataclass(frozen=True)
class Regroup:
    """Space to channels: the sites of each `stride` cell become channels of one site, the cell's first site first."""

    lattice: Lattice
    stride: tuple[int, ...]

    @property
    def pattern(self) -> str:
        """einops pattern from the fine to the coarse lattice."""
        blocks, outer, inner = _blocked(self.lattice.dim, "s")
        return f"b c {blocks} -> b ({inner} c) {outer}"

    @property
    def sizes(self) -> dict[str, int]:
        """The pattern's axes within a cell."""
        return dict(zip(("s" + axis for axis in AXES[self.lattice.dim]), self.stride, strict=True))

    @property
    def outputs(self) -> tuple[Lattice, ...]:
        """The coarse lattice."""
        return (self.lattice.coarsen(self.stride),)


@dataclass(frozen=True)
class Cut:
    """Cut the channels in two: the first `keep` of them, and the rest."""

    lattice: Lattice
    keep: int

    @property
    def pattern(self) -> str:
        """The cut, as the table shows it."""
        return f"c -> {self.keep} + {self.lattice.channels - self.keep}"

    @property
    def outputs(self) -> tuple[Lattice, ...]:
        """The kept channels and the rest."""
        rest = self.lattice.channels - self.keep
        return self.lattice.with_channels(self.keep), self.lattice.with_channels(rest)


Action = Apply | Regroup | Cut
