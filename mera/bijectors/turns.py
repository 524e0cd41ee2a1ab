"""Sites of a lattice in turns: the sites of one turn are transformed given the sites of all turns before it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from mera.bijectors.base import log_det_dtype
from mera.bijectors.boxes import Box, PerBox, ravel
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.base import join
from mera.bijectors.frames import Frame
from mera.bijectors.local import LocalBijector

Site = tuple[int, ...]
FrameFactory = Callable[[Sequence[float], int], Frame | None]
"""From the distances of the neighbours and the number of entries of the context to a frame; None for the identity."""
NEVER = 2**30
"""The turn of sites that are not drawn."""


@dataclass(frozen=True)
class Group:
    """Sites that are drawn together: a corner of all cells whose coordinates, modulo the period, are the colour.

    Args:
        corner: the coordinates of the corner in its cell.
        colour: the coordinates of the cells modulo the period of `Order`; None for all cells.
    """

    corner: Site
    colour: Site | None = None


@dataclass(frozen=True)
class Order:
    """The order in which the sites of a lattice are drawn.

    Args:
        stride: for each dimension, the edge of a cell, whose sites are the channels of an event.
        period: for each dimension, the period of colours, in cells.
        turns: the groups of each turn.
        kept: the number of first turns whose sites stay as they are.
    """

    stride: Site
    period: Site
    turns: tuple[tuple[Group, ...], ...]
    kept: int = 0

    @cached_property
    def ranks(self) -> Tensor:
        """The turn of each site: by corner and colour."""
        ranks = torch.full((*self.stride, *self.period), NEVER)
        for number, groups in enumerate(self.turns):
            for group in groups:
                cells = (...,) if group.colour is None else group.colour
                ranks[(*group.corner, *cells)] = number
        return ranks

    def rank(self, sites: Tensor) -> Tensor:
        """The turns of sites (..., dim) of a lattice without ends."""
        stride, period = torch.tensor(self.stride), torch.tensor(self.period)
        corner, cell = sites % stride, torch.div(sites, stride, rounding_mode="floor") % period
        return self.ranks[(*corner.unbind(-1), *cell.unbind(-1))]

    def neighbours(self, number: int, window: Sequence[range]) -> list[Site]:
        """The displacements of the sites that a turn reads, nearest first.

        `window` holds the displacements for each dimension.
        """
        sites = [
            [n * s + c for n, s, c in zip(cell, self.stride, group.corner, strict=True)]
            for group in self.turns[number]
            for cell in ([group.colour] if group.colour else itertools.product(*map(range, self.period)))
        ]
        steps = list(itertools.product(*window))
        is_known = (self.rank(torch.tensor(sites)[:, None] + torch.tensor(steps)) < number).any(0)
        known = [step for step, flag in zip(steps, is_known.tolist(), strict=True) if flag]
        return sorted(known, key=lambda step: (math.hypot(*step), step))


def corner_order(period: Sequence[int], together: bool = False) -> Order:
    """The order of the new sites of a lattice given the first corner of each cell: white corners, then black ones.

    A corner is white if its coordinates have an even sum. White corners of cells of one colour share a turn, and each
    black corner has one turn for all cells.

    Args:
        period: for each dimension, the period of colours; 1 in all for one turn for each white corner.
        together: whether all black corners are drawn in one turn, as in an action of nearest neighbours, in which
            black sites are independent of each other given the white ones.
    """
    kept, *corners = itertools.product(range(2), repeat=len(period))
    white, black = ([corner for corner in corners if sum(corner) % 2 == odd] for odd in (0, 1))
    colours = list(itertools.product(*map(range, period)))
    turns: list[tuple[Group, ...]] = [(Group(kept),)]
    turns += [(Group(corner, colour),) for corner in white for colour in colours]
    parts = [black] if together else [[corner] for corner in black]
    turns += [tuple(Group(corner) for corner in part) for part in parts]
    return Order((2,) * len(period), tuple(period), tuple(turns), kept=1)


def raster_order(sites: Sequence[int]) -> Order:
    """The order of the sites of a small lattice, one by one, the last coordinate fastest."""
    corner = (0,) * len(sites)
    places = itertools.product(*map(range, sites))
    return Order((1,) * len(sites), tuple(sites), tuple((Group(corner, site),) for site in places))


class Turn(LocalBijector):
    """Transform the sites of one turn, in a frame that the sites of all turns before it define.

    Args:
        event_shape: shape (C, *cells) of one event, whose channels are the corners of a cell, one after another.
        order: the order of turns.
        number: the turn.
        neighbours: the displacements of the sites that the frame reads; see `Order.neighbours`.
        radius: how far they are, in cells along each dimension; None if all sites are read.
        frame: the frame.
        circular: whether the lattice is periodic.
        context_shape: shape of a context, (K,) or (K, *cells), that the frame's networks also read; None for none.
    """

    of_angles = None

    def __init__(
        self, event_shape: tuple[int, ...], order: Order, number: int, neighbours: Sequence[Site],
        radius: tuple[int, ...] | None, frame: Frame, circular: bool, context_shape: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(event_shape, context_shape)
        self.order, self.number, self.circular, self.frame = order, number, circular, frame
        self.rule = repr(order)  # tells flows of other orders apart
        self.neighbours, self.kernel = tuple(neighbours), radius and tuple(1 + 2 * n for n in radius)
        self.variables = math.prod(order.stride)
        lowest = min(ravel(torch.tensor(group.corner).unbind(-1), order.stride).item() for group in self.groups)
        self.passive = event_shape[0] // self.variables * int(lowest)
        self._places = PerBox(self._computed_places)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The sites of the turn."""
        return self.order.turns[self.number]

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window, in cells."""
        return self.kernel

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Transform the sites of the turn, or transform them back; all other sites stay as they are."""
        targets, neighbours, cells = self._places(x, sites)
        batch, count, n_cells = x.shape[0], len(targets), math.prod(x.shape[2:])
        # variables as rows (variables * cells, B, C), which are gathered fast
        values = x.to(log_det_dtype(x)).reshape(batch, self.variables, x.shape[1] // self.variables, n_cells)
        values = values.permute(1, 3, 0, 2).flatten(0, 1)
        vectors = F.pad(self.frame.vectors(values), (0, 0, 0, 0, 0, 1))  # and a row of zeros for all unknown sites
        table = vectors.flatten(1)
        read = table.gather(0, neighbours[:, None].expand(-1, table.shape[1]))
        read = read.view(count, len(self.neighbours), batch, vectors.shape[-1])
        new, log_dets = self.frame(values.index_select(0, targets), read, self._context(context, x, cells), inverse)
        values = values.index_copy(0, targets, new)
        y = values.view(self.variables, n_cells, batch, values.shape[-1]).permute(2, 0, 3, 1)
        y = y.reshape(x.shape).to(x.dtype)
        if sites is None:
            return y, log_dets.sum(0)
        flat = log_dets.new_zeros(n_cells, batch).index_add(0, cells, log_dets)
        return y, flat.mT.reshape(batch, *x.shape[2:])

    def _context(self, context: Tensor | None, x: Tensor, cells: Tensor) -> Tensor:
        """The context of each transformed site, (n, B, E)."""
        return join(x[:, :0], context, self.context_shape).flatten(2).permute(2, 0, 1).index_select(0, cells)

    def _computed_places(self, sites: Box) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of the transformed variables, (n,); those of their neighbours, (n K,); and the cells, (n,)."""
        inner, start = sites.shrunk(self.radius), torch.tensor(sites.start)
        targets, neighbours, cells = [], [], []
        for group in self.groups:
            corner = torch.tensor(group.corner)
            coordinates = [
                [c for c in range(*ends) if group.colour is None or c % n % period == group.colour[axis]]
                for axis, (*ends, n, period) in enumerate(
                    zip(inner.start, inner.stop, sites.lattice, self.order.period, strict=True)
                )
            ]
            cell = torch.tensor(list(itertools.product(*coordinates)), dtype=torch.int64).view(-1, len(start))
            cells.append(ravel((cell - start).unbind(-1), sites.shape))
            targets.append(ravel(corner.unbind(-1), self.order.stride) * math.prod(sites.shape) + cells[-1])
            neighbours.append(self._read(cell * torch.tensor(self.order.stride) + corner, sites))
        return torch.cat(targets), torch.cat(neighbours).flatten(), torch.cat(cells)

    def _read(self, targets: Tensor, sites: Box) -> Tensor:
        """The rows of the neighbours of sites (n, dim), (n, K); one past the last row for unknown variables."""
        steps = torch.tensor(self.neighbours, dtype=torch.int64).view(-1, len(sites.start))
        stride, edges, shape = (torch.tensor(t) for t in (self.order.stride, sites.lattice, sites.shape))
        site = targets[:, None] + steps
        corner, cell = site % stride, torch.div(site, stride, rounding_mode="floor")
        place = cell - torch.tensor(sites.start)
        if self.circular:
            wraps = torch.tensor([not any(ends) for ends in sites.interior])
            cell, place = cell % edges, torch.where(wraps, place % shape, place)
        is_inside = ((place >= 0) & (place < shape)).all(-1)
        is_known = is_inside & (self.order.rank(cell * stride + corner) < self.number)
        row = ravel(corner.unbind(-1), self.order.stride) * math.prod(sites.shape) + ravel(
            place.unbind(-1), sites.shape
        )
        return torch.where(is_known, row, self.variables * math.prod(sites.shape))


def turns(
    event_shape: tuple[int, ...], order: Order, window: int | None, make: FrameFactory, circular: bool,
    context_shape: tuple[int, ...] | None = None,
) -> Chain:  # fmt: skip
    """Make a chain of all turns of an order, the last one first, as in every map from data to latents.

    `window` is how far neighbours are that a frame reads, in sites along each dimension, or None for all sites; `make`
    makes the frame of each turn. The other arguments are those of `Turn`.
    """
    if window is None:
        ranges = [range(-(n // 2), n - n // 2) if circular else range(1 - n, n) for n in event_shape[1:]]
    else:
        ranges = [range(-window, window + 1)] * len(order.stride)
    radius = None if window is None else tuple(-(-window // stride) for stride in order.stride)
    members = []
    for number in range(order.kept, len(order.turns)):
        neighbours = order.neighbours(number, ranges)
        frame = make([math.hypot(*step) for step in neighbours], context_shape[0] if context_shape else 0)
        if frame is not None:
            members.append(Turn(event_shape, order, number, neighbours, radius, frame, circular, context_shape))
    return Chain(members[::-1])
