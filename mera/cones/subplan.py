"""A plan cut down to the events that a few variables of the data pass through.

`localize` follows some variables through a plan and keeps, of each step that applies a bijector, the events that they
are part of: a `Piece`. Regrouping and cutting need no piece, they only change where the next one finds its variables.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mera.cones.indexing import Tiling, event_tiling, rearranged, variables_at
from mera.graph.actions import Apply
from mera.graph.plan import Plan, Step

__all__ = ["Exit", "Piece", "Pieces", "localize"]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some events of a step. Its variables are those of the events, row by row, and what the step passes by.

    Args:
        step: the step.
        positions: theirs in the step's grid.
        group_sizes: how many of them are to be transformed in each call of the bijector.
        parent: the piece that these variables come from; -1 for the variables followed.
        source: for each variable, its place among the parent's; -1 for one that is not followed, a constant.
    """

    step: Step
    positions: Tensor
    group_sizes: tuple[int, ...]
    parent: int
    source: Tensor


@dataclass(frozen=True, eq=False)
class Exit:
    """Where followed variables leave as latents of one level: variables in the order (channel, site).

    Args:
        sites: sites of the level at which there are some.
        parent, source: as for a piece.
    """

    sites: Tensor
    parent: int
    source: Tensor


@dataclass(frozen=True, eq=False)
class Pieces:
    """What is left of a plan.

    Args:
        plan: the plan.
        size: how many variables are followed.
        pieces: in the order of the plan's steps.
        exits: one for each level of latents, finest first.
    """

    plan: Plan
    size: int
    pieces: tuple[Piece, ...]
    exits: tuple[Exit, ...]


def localize(plan: Plan, numbers: Tensor, width: int | None = None) -> Pieces:
    """Follow variables of the data, in the order given, to the latents.

    Args:
        plan: the plan.
        numbers: the variables; see `mera.graph.addresses`.
        width: take whole groups of events, this many wide in the step's grid, each group in a call of its own, so that
            what an event is computed with does not depend on which variables are followed. All in one call if None.
    """
    pieces: list[Piece] = []
    where = {0: (-1, torch.arange(len(numbers)), numbers)}  # value -> piece, places in it, numbers of its variables
    for step in plan.steps:
        parent, places, numbers_here = where.pop(step.source)
        if not isinstance(step.action, Apply):
            for target, (chosen, there) in zip(step.targets, rearranged(step.action, numbers_here), strict=True):
                where[target] = parent, places[chosen], there
            continue
        tiling = event_tiling(step.action)
        if tiling.locate(numbers_here)[2].any():
            piece, numbers_here = _piece(step, tiling, parent, places, numbers_here, width)
            parent, places = len(pieces), torch.arange(len(numbers_here))
            pieces.append(piece)
        where[step.targets[0]] = parent, places, numbers_here
    exits = []
    for latent in plan.latents:
        parent, places, numbers_here = where[latent.value]
        sites = (numbers_here // latent.lattice.channels).unique()
        layout = variables_at(sites, latent.lattice).flatten()
        exits.append(Exit(sites, parent, _find(layout, numbers_here, places)))
    return Pieces(plan, len(numbers), tuple(pieces), tuple(exits))


def _piece(
    step: Step, tiling: Tiling, parent: int, places: Tensor, numbers: Tensor, width: int | None
) -> tuple[Piece, Tensor]:
    """The events that hold some variables, and the numbers of the piece's variables."""
    positions, within, inside = tiling.locate(numbers)
    touched = positions[inside].unique()
    groups = [touched] if width is None else tiling.groups(touched, width)
    touched = torch.cat(groups)
    source = torch.full((len(touched) * tiling.variables,), -1)
    rank = _find(positions[inside], touched, torch.arange(len(touched)))
    source[rank * tiling.variables + within[inside]] = places[inside]
    piece = Piece(step, touched, tuple(map(len, groups)), parent, torch.cat([source, places[~inside]]))
    return piece, torch.cat([tiling.members(touched).flatten(), numbers[~inside]])


def _find(wanted: Tensor, numbers: Tensor, places: Tensor) -> Tensor:
    """The places of the wanted numbers, -1 for those that are not there."""
    if not len(numbers):
        return torch.full_like(wanted, -1)
    order = numbers.argsort()
    at = torch.searchsorted(numbers[order], wanted).clamp(max=len(numbers) - 1)
    found = numbers[order][at] == wanted
    return torch.where(found, places[order][at], -1)
