"""Which latents change together in cone Monte Carlo, and where the action changes with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera.cones.incremental import Change, Wiring
from mera.cones.indexing import ravel
from mera.physics.action import Action


@dataclass(frozen=True, eq=False)
class Move:
    """Places of one level whose latents change together and are accepted apart.

    Args:
        level: the level of the latents, 0 for the finest.
        change: what is evaluated when the latents change.
        windows: for each place the addresses of the data in a window around its cone, (places, C, *window); None for an
            action that is not local, of which the whole field is evaluated.
        inner: the sites of a window, bool (*window), whose share of the action can change; None if all can.
    """

    level: int
    change: Change
    windows: Tensor | None = None
    inner: Tensor | None = None

    def to(self, device: torch.device) -> Move:
        """A copy of the move whose tensors are on a device.

        Args:
            device: the device.
        """
        windows, inner = (None if t is None else t.to(device) for t in (self.windows, self.inner))
        return Move(self.level, self.change.to(device), windows, inner)

    def action(self, action: Action, phi: Tensor) -> Tensor:
        """The part of the action that changes with the latents at each place, (K, places), up to a constant.

        Args:
            action: the action.
            phi: the fields, (K, C, *shape).
        """
        if self.windows is None:
            return action(phi)[:, None]
        fields = phi.flatten(1)[:, self.windows.flatten()].view(-1, *self.windows.shape[1:])
        density = action.density(fields)
        if self.inner is not None:
            density = density * self.inner
        return density.flatten(1).sum(1).view(len(phi), -1)


def reach_of(action: Action) -> int | None:
    """How far the density of an action reaches; None if the action is not local, or the borders are open.

    Args:
        action: the action.
    """
    return action.reach if action.periodic else None


def moves_of_level(wiring: Wiring, level: int, reach: int | None) -> list[Move]:
    """Moves that reach all latents of a level, each of as many places as can change together.

    A place is the latents that enter the same event of a bijector. Places change together if the parts of the action
    that depend on them do not meet; all places alone if the action is not local.

    Args:
        wiring: the addresses of the plan's variables.
        level: the level, 0 for the finest.
        reach: how far the density of the action reaches; None if it is not local.
    """
    places = _places(wiring, wiring.latents[level].flatten())
    if reach is None:
        return [Move(level, wiring.change([place])) for place in places]
    n, shape = wiring.data.numel(), wiring.data.shape[1:]
    groups: dict[tuple[int, ...], list[_Group]] = {}
    for place in places:
        change = wiring.change([place])
        sites = change.addresses[change.addresses < n] % shape.numel()
        box = _Box.around(sites, shape, reach)
        candidates = groups.setdefault((len(place), *box.window, *box.margin), [])
        for group in candidates:
            if not group.taken[box.inside(shape)].any():
                break
        else:
            group = _Group([], [], torch.zeros(shape, dtype=torch.bool))
            candidates.append(group)
        group.places.append(place)
        group.boxes.append(box)
        group.taken[box.inside(shape)] = True
    return [_move(wiring, level, group) for candidates in groups.values() for group in candidates]


@dataclass(frozen=True, eq=False)
class _Group:
    """Places that can change together.

    Args:
        places: for each place the addresses of its latents.
        boxes: for each place the sites whose share of the action changes.
        taken: the sites of all these boxes.
    """

    places: list[Tensor]
    boxes: list[_Box]
    taken: Tensor


@dataclass(frozen=True)
class _Box:
    """A box of sites on a torus, and a window around the box.

    Args:
        start: for each dimension the first site of the window.
        window: for each dimension the sites along an edge of the window.
        margin: for each dimension how far the box is from the borders of the window.
    """

    start: tuple[int, ...]
    window: tuple[int, ...]
    margin: tuple[int, ...]

    @classmethod
    def around(cls, sites: Tensor, shape: Sequence[int], reach: int) -> _Box:
        """The sites whose density depends on some sites, and a window in which their density can be computed.

        Args:
            sites: the flat indices of the sites that change.
            shape: the shape of the lattice.
            reach: how far the density reaches.
        """
        edges = []
        for coordinate, n in zip(torch.unravel_index(sites, tuple(shape)), shape, strict=True):
            found = coordinate.unique()
            gaps = torch.diff(found, append=found[:1] + n)
            last = int(gaps.argmax())  # behind it is the widest gap
            first = int(found[(last + 1) % len(found)])
            length = n - int(gaps[last]) + 1
            fits = length + 4 * reach <= n
            edges.append(((first - 2 * reach) % n, length + 4 * reach, reach) if fits else (0, n, 0))
        start, window, margin = zip(*edges, strict=True)
        return cls(start, window, margin)

    def inside(self, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """The coordinates of the sites of the box, as indices of a tensor (*shape)."""
        return self._grid(shape, self.margin)

    def sites(self, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """The coordinates of the sites of the window, as indices of a tensor (*shape)."""
        return self._grid(shape, (0,) * len(self.start))

    def _grid(self, shape: Sequence[int], margin: Sequence[int]) -> tuple[Tensor, ...]:
        edges = zip(self.start, self.window, margin, shape, strict=True)
        ranges = [(start + torch.arange(m, length - m)) % n for start, length, m, n in edges]
        return torch.meshgrid(*ranges, indexing="ij")


def _places(wiring: Wiring, latents: Tensor) -> list[Tensor]:
    """The addresses of latents, those that enter the same event together."""
    places = []
    for wired in wiring.steps:
        first, last = wired.inputs.min(), wired.inputs.max()
        here = latents[(latents >= first) & (latents <= last)]
        events = (here - first) // wired.inputs.shape[1]
        places += [here[events == event] for event in events.unique()]
    outside = latents[latents < wiring.data.numel()]  # latents that no bijector touches
    return [*places, *outside[:, None]]


def _move(wiring: Wiring, level: int, group: _Group) -> Move:
    """The move of a group of places."""
    shape = wiring.data.shape[1:]
    box = group.boxes[0]
    flat = [ravel(one.sites(shape), tuple(shape)) for one in group.boxes]
    windows = torch.stack([wiring.data.flatten(1)[:, sites] for sites in flat])
    inner = torch.zeros(box.window, dtype=torch.bool)
    inner[tuple(slice(m, length - m) for m, length in zip(box.margin, box.window, strict=True))] = True
    return Move(level, wiring.change(group.places), windows, None if inner.all() else inner)
