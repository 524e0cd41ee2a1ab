"""Moves of cone Monte Carlo: groups of latents that change together, and the sites where the action changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera.cones.incremental import Change, Wiring
from mera.graph.indexing import ravel
from mera.physics.action import Action


@dataclass(frozen=True, eq=False)
class Move:
    """Places of one level whose latents are proposed together and accepted separately.

    Args:
        change: the events that are re-evaluated when the latents change.
        windows: for each place, the addresses of the data in a window around its cone, (places, C, *window); None for
            an action that is not local, which is evaluated on the whole field.
        inner: the sites of a window whose contribution to the action can change, bool (*window); None for all sites.
    """

    change: Change
    windows: Tensor | None = None
    inner: Tensor | None = None

    def to(self, device: torch.device) -> Move:
        """A copy of the move with its tensors on a device."""
        windows, inner = (None if t is None else t.to(device) for t in (self.windows, self.inner))
        return Move(self.change.to(device), windows, inner)

    def action(self, action: Action, phi: Tensor) -> Tensor:
        """The part of the action of fields (K, C, *shape) that depends on the latents at each place, (K, places).

        The part is defined up to a constant that does not depend on these latents.
        """
        if self.windows is None:
            return action(phi)[:, None]
        fields = phi.flatten(1)[:, self.windows.flatten()].view(-1, *self.windows.shape[1:])
        density = action.density(fields)
        if self.inner is not None:
            density = density * self.inner
        return density.flatten(1).sum(1).view(len(phi), -1)


def moves_of_level(wiring: Wiring, level: int, reach: int | None) -> list[Move]:
    """Moves that together change all latents of a level, each with as many places as can change together.

    A place is the set of latents that enter the same event of a bijector. Places change together if the parts of the
    action that depend on them do not overlap. If the action is not local (`reach` None), every move has one place.
    """
    places = _places(wiring, wiring.latents[level].flatten())
    if reach is None:
        return [Move(wiring.change([place])) for place in places]
    n, shape = wiring.data.numel(), wiring.data.shape[1:]
    groups: dict[tuple[int, ...], list[tuple[list[Tensor], list[_Box], Tensor]]] = {}  # places, boxes, their sites
    for place in places:
        change = wiring.change([place])
        sites = change.addresses[change.addresses < n] % shape.numel()
        box = _Box.around(sites, shape, reach)
        candidates = groups.setdefault((len(place), *box.window, *box.margin), [])
        interior = box.sites(shape, box.margin)
        group = next((group for group in candidates if not group[2][interior].any()), None)
        if group is None:
            group = ([], [], torch.zeros(shape, dtype=torch.bool))
            candidates.append(group)
        together, boxes, taken = group
        together.append(place)
        boxes.append(box)
        taken[interior] = True
    return [_move(wiring, together, boxes) for candidates in groups.values() for together, boxes, _ in candidates]


@dataclass(frozen=True)
class _Box:
    """A box of sites on a torus, and a window around the box.

    Args:
        start: for each dimension, the first site of the window.
        window: for each dimension, the edge of the window.
        margin: for each dimension, the distance from the border of the window to the box.
    """

    start: tuple[int, ...]
    window: tuple[int, ...]
    margin: tuple[int, ...]

    @classmethod
    def around(cls, sites: Tensor, shape: Sequence[int], reach: int) -> _Box:
        """The box of sites whose density depends on sites that change, in a window large enough to compute the density.

        `sites` are the flat indices of the sites that change, in a lattice of `shape`.
        """
        edges = []
        for coordinate, n in zip(torch.unravel_index(sites, tuple(shape)), shape, strict=True):
            values = coordinate.unique()
            gaps = torch.diff(values, append=values[:1] + n)
            last = int(gaps.argmax())  # the widest gap follows this coordinate
            first = int(values[(last + 1) % len(values)])
            length = n - int(gaps[last]) + 1
            fits = length + 4 * reach <= n
            edges.append(((first - 2 * reach) % n, length + 4 * reach, reach) if fits else (0, n, 0))
        start, window, margin = zip(*edges, strict=True)
        return cls(start, window, margin)

    def sites(self, shape: Sequence[int], margin: Sequence[int]) -> tuple[Tensor, ...]:
        """The coordinates of the sites of the window that lie `margin` or more inside it, as indices of a tensor."""
        edges = zip(self.start, self.window, margin, shape, strict=True)
        ranges = [(start + torch.arange(m, length - m)) % n for start, length, m, n in edges]
        return torch.meshgrid(*ranges, indexing="ij")


def _places(wiring: Wiring, latents: Tensor) -> list[Tensor]:
    """The addresses of latents, grouped by the event that they enter."""
    places = []
    for wired in wiring.steps:
        first, last = wired.inputs.min(), wired.inputs.max()
        entering = latents[(latents >= first) & (latents <= last)]
        events = (entering - first) // wired.inputs.shape[1]
        places += [entering[events == event] for event in events.unique()]
    untouched = latents[latents < wiring.data.numel()]  # latents that no bijector acts on
    return [*places, *untouched[:, None]]


def _move(wiring: Wiring, places: list[Tensor], boxes: list[_Box]) -> Move:
    """The move of places that change together, whose boxes all have the same window and margin."""
    shape = wiring.data.shape[1:]
    box, none = boxes[0], (0,) * len(shape)
    data = wiring.data.flatten(1)
    windows = torch.stack([data[:, ravel(place_box.sites(shape, none), tuple(shape))] for place_box in boxes])
    inner = torch.zeros(box.window, dtype=torch.bool)
    inner[tuple(slice(m, length - m) for m, length in zip(box.margin, box.window, strict=True))] = True
    return Move(wiring.change(places), windows, None if inner.all() else inner)
