"""Subplans: a plan restricted to the events that a few variables of the data pass through.

`make_subplan` follows variables of the data through a plan. For each step that applies a bijector, a `PartialStep` has
the events that contain reached variables. Operations that only move variables change the columns from which the next
partial step reads its variables, and do not become partial steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mera.graph.boxes import Box, hull
from mera.graph.indexing import indices_at
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step

IsLocal = Callable[[Step], bool]
"""Whether the field bijector of a step can be evaluated on a box."""


class Boxes(NamedTuple):
    """The boxes of a local field bijector around reached variables.

    Args:
        entry: the sites of the reached variables before the bijector, and sites between them.
        core: the sites that depend on the entry.
        box: the sites that the core depends on.
    """

    entry: Box
    core: Box
    box: Box


@dataclass(frozen=True, eq=False)
class PartialStep:
    """The events of a step that contain reached variables.

    The variables of a partial step are first the variables of its events, one event after the other, then the reached
    variables that are in no event.

    A local field bijector has one event, a box of the lattice. Its variables are those of the core, the part of the box
    that can change; `source` is of the whole box.

    Args:
        step: the step.
        positions: the index of each event in the step's grid, (n_events,).
        group_sizes: the number of events that are transformed in each call of the bijector; the sum is n_events.
        parent: the index of the partial step that the variables come from; -1 for the data.
        source: for each variable the index among the parent's variables; -1 for a variable that cannot change, which
            is a constant.
        boxes: for a local field bijector, the boxes of its lattice; None for patches, and if the reached variables
            extend over the whole lattice.
    """

    step: Step
    positions: Tensor
    group_sizes: tuple[int, ...]
    parent: int
    source: Tensor
    boxes: Boxes | None = None

    @property
    def size(self) -> int:
        """The number of variables in the row."""
        if self.boxes is None:
            return len(self.source)
        return self.step.apply.lattice.channels * math.prod(self.boxes.core.shape)

    def row(self, indices: Tensor) -> Tensor:
        """The flat indices of the variables in the row, (size,), from those of the reached variables of the source."""
        tiling, lattice = self.step.apply.event_tiling, self.step.apply.lattice
        if self.boxes is not None:
            return indices_at(self.boxes.core.sites(lattice).flatten(), lattice).flatten()
        return torch.cat([tiling.members(self.positions).flatten(), indices[~tiling.locate(indices)[2]]])

    @property
    def source_of_entry(self) -> Tensor:
        """`source` of the sites that the inverse finds: the entry of a local field bijector."""
        if self.boxes is None:
            return self.source
        return self.boxes.entry.crop(self.source.view(-1, *self.boxes.box.shape), self.boxes.box).flatten()


@dataclass(frozen=True, eq=False)
class PartialLevel:
    """The latents of one level at the sites that reached variables arrive at, in the order (channel, site).

    Args:
        sites: the flat indices of the sites, (n_sites,).
        parent: the index of the partial step that the latents come from; -1 for the data.
        source: for each latent the index among the parent's variables; -1 for a latent that cannot change, which is a
            constant.
    """

    sites: Tensor
    parent: int
    source: Tensor


@dataclass(frozen=True, eq=False)
class Subplan:
    """The part of a plan that reached variables of the data pass through.

    Args:
        plan: the whole plan.
        size: the number of reached variables.
        steps: the partial steps, in the order of the plan's steps.
        levels: one partial level for each level of latents, finest first.
    """

    plan: Plan
    size: int
    steps: tuple[PartialStep, ...]
    levels: tuple[PartialLevel, ...]


def make_subplan(plan: Plan, first: Tensor, is_local: IsLocal, group_width: int | None = None) -> Subplan:
    """The part of a plan that variables of the data pass through, with all variables of the events that they meet.

    These are more than a cone has, such as passive channels: the inverse of an event depends on all of its variables.

    Args:
        plan: the plan.
        first: the flat indices of the variables of the data, in the order of the first row.
        is_local: whether the field bijector of a step can be evaluated on a box.
        group_width: the edge of a group of events in the step's grid; see `PartialStep`. None for one group.
    """
    steps: list[PartialStep] = []
    # for each value: the index of a partial step; the sorted flat indices of variables, and their columns in its row
    places = {0: (-1, *first.sort())}
    for step in plan.steps:
        parent, indices, columns = places.pop(step.source)
        if not step.module:
            outputs = step.move.map_forward(indices)
            for target, (is_moved, moved) in zip(step.targets, outputs, strict=True):
                moved, order = moved.sort()
                places[target] = parent, moved, columns[is_moved][order]
            continue
        partial = _partial_step(step, parent, indices, columns, is_local, group_width)
        if partial is not None:
            parent, (indices, columns) = len(steps), partial.row(indices).sort()
            steps.append(partial)
        places[step.targets[0]] = parent, indices, columns
    levels = []
    for latent in plan.latents:
        parent, indices, columns = places[latent.value]
        sites = (indices // latent.lattice.channels).unique()
        order = indices_at(sites, latent.lattice).flatten()
        levels.append(PartialLevel(sites, parent, _look_up(order, indices, columns)))
    return Subplan(plan, len(first), tuple(steps), tuple(levels))


def _partial_step(
    step: Step, parent: int, indices: Tensor, columns: Tensor, is_local: IsLocal, group_width: int | None
) -> PartialStep | None:
    """The events of a step with reached variables; None if there are none.

    Args:
        step: the step.
        parent: the index of the partial step that the variables come from.
        indices: the sorted flat indices of reached variables.
        columns: the column of each in the row of the parent.
        is_local: see `make_subplan`.
        group_width: see `make_subplan`.
    """
    tiling, lattice = step.apply.event_tiling, step.apply.lattice
    positions, _, is_covered = tiling.locate(indices)
    if not is_covered.any():
        return None
    boxes = _boxes(step.apply, indices) if step.apply.is_field and is_local(step) else None
    touched = positions[is_covered].unique()
    if boxes is not None:
        members = indices_at(boxes.box.sites(lattice).flatten(), lattice).flatten()
        return PartialStep(step, touched, (1,), parent, _look_up(members, indices, columns), boxes)
    groups = [touched] if group_width is None else tiling.groups(touched, group_width)
    touched = torch.cat(groups)
    source = _look_up(tiling.members(touched).flatten(), indices, columns)
    return PartialStep(step, touched, tuple(map(len, groups)), parent, torch.cat([source, columns[~is_covered]]))


def _boxes(operation: Apply, indices: Tensor) -> Boxes | None:
    """The boxes of a field with reached variables; None if the variables extend over the whole lattice."""
    lattice, radius = operation.lattice, operation.radius
    coordinates = torch.unravel_index((indices // lattice.channels).unique(), lattice.shape)
    entry = hull([c.unique().tolist() for c in coordinates], lattice)
    if entry.shape == lattice.shape:
        return None
    return Boxes(entry, _around(entry, radius, lattice), _around(entry, [2 * r for r in radius], lattice))


def _around(box: Box, sites: Sequence[int], lattice: Lattice) -> Box:
    """Grow the box on both sides; where it would go around a periodic edge, use the whole edge, centred on the box."""
    grown = box.grown(sites, lattice)
    first = [a - (n - b + a) // 2 for a, b, n in zip(box.start, box.stop, lattice.shape, strict=True)]
    spans = zip(grown.start, grown.stop, first, lattice.shape, strict=True)
    return Box.of((a, b) if b - a <= n else (middle, middle + n) for a, b, middle, n in spans)


def _look_up(keys: Tensor, table_keys: Tensor, table_values: Tensor) -> Tensor:
    """The value of each key in a table; -1 for keys that are not in the table."""
    if not len(table_keys):
        return torch.full_like(keys, -1)
    order = table_keys.argsort()
    nearest = order[torch.searchsorted(table_keys[order], keys).clamp(max=len(table_keys) - 1)]
    return torch.where(table_keys[nearest] == keys, table_values[nearest], -1)
