"""Subplans: a plan restricted to the events that a few variables of the data pass through.

`make_subplan` follows variables of the data through a plan. For each step that applies a bijector, a `PartialStep` has
the events that contain followed variables. Operations that only move variables change the indices from which the
next partial step reads its variables, and do not become partial steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mera.graph.boxes import Box, hull
from mera.graph.indexing import Tiling, indices_at
from mera.graph.lattice import Lattice
from mera.graph.local_fields import crop
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step


class Boxes(NamedTuple):
    """The boxes of a local field bijector around followed variables.

    Args:
        entry: the sites of the followed variables before the bijector, and sites between them.
        core: the sites that depend on the entry.
        box: the sites that the core depends on.
    """

    entry: Box
    core: Box
    box: Box


@dataclass(frozen=True, eq=False)
class PartialStep:
    """The events of a step that contain followed variables.

    The variables of a partial step are first the variables of its events, one event after the other, then the followed
    variables that are in no event.

    A local field bijector has one event, a box of the lattice. Its variables are those of the core, the part of the box
    that can change; `source` is of the whole box.

    Args:
        step: the step.
        positions: the index of each event in the step's grid, (n_events,).
        group_sizes: the number of events that are transformed in each call of the bijector; the sum is n_events.
        parent: the index of the partial step that the variables come from; -1 for the data.
        source: for each variable the index among the parent's variables; -1 for a variable that is not followed, which
            is a constant.
        boxes: for a local field bijector, the boxes of its lattice; None for patches, and if the followed variables
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
        """The number of variables."""
        if self.boxes is None:
            return len(self.source)
        return self.step.apply.lattice.channels * math.prod(self.boxes.core.shape)

    @property
    def source_of_entry(self) -> Tensor:
        """`source` of the sites that the inverse finds: the entry of a local field bijector."""
        if self.boxes is None:
            return self.source
        return crop(self.source.view(-1, *self.boxes.box.shape), self.boxes.entry, self.boxes.box).flatten()


@dataclass(frozen=True, eq=False)
class PartialLevel:
    """The latents of one level at the sites that followed variables arrive at, in the order (channel, site).

    Args:
        sites: the flat indices of the sites, (n_sites,).
        parent: the index of the partial step that the latents come from; -1 for the data.
        source: for each latent the index among the parent's variables; -1 for a latent that is not followed, which is a
            constant.
    """

    sites: Tensor
    parent: int
    source: Tensor


@dataclass(frozen=True, eq=False)
class Subplan:
    """The part of a plan that followed variables of the data pass through.

    Args:
        plan: the whole plan.
        size: the number of followed variables.
        steps: the partial steps, in the order of the plan's steps.
        levels: one partial level for each level of latents, finest first.
    """

    plan: Plan
    size: int
    steps: tuple[PartialStep, ...]
    levels: tuple[PartialLevel, ...]


def make_subplan(
    plan: Plan, indices: Tensor, group_width: int | None = None, is_local: Callable[[Step], bool] = lambda step: False
) -> Subplan:
    """Follow variables of the data to the latents.

    Args:
        plan: the plan.
        indices: the flat indices of the variables, (n,), whose order is kept; see `mera.graph.indexing`.
        group_width: the edge of a group of events in the step's grid. Whole groups are transformed, each in a call of
            its own, so that the batch of an event does not depend on the followed variables. If None, all events of a
            step are transformed in one call.
        is_local: whether the field bijector of a step can be evaluated on a box.
    """
    steps: list[PartialStep] = []
    # for each value: the index of a partial step, the places of variables there, and their flat indices in the value
    followed = {0: (-1, torch.arange(len(indices)), indices)}
    for step in plan.steps:
        parent, places, indices_here = followed.pop(step.source)
        if not step.module:
            outputs = step.operation.map_forward(indices_here)
            for target, (is_moved, moved) in zip(step.targets, outputs, strict=True):
                followed[target] = parent, places[is_moved], moved
            continue
        tiling = step.apply.event_tiling
        if tiling.locate(indices_here)[2].any():
            boxes = _boxes(step.apply, indices_here) if step.apply.is_field and is_local(step) else None
            if boxes is None:
                partial_step, indices_here = _partial_step(step, tiling, parent, places, indices_here, group_width)
            else:
                partial_step, indices_here = _partial_field(step, boxes, parent, places, indices_here)
            parent, places = len(steps), torch.arange(len(indices_here))
            steps.append(partial_step)
        followed[step.targets[0]] = parent, places, indices_here
    levels = []
    for latent in plan.latents:
        parent, places, indices_here = followed[latent.value]
        sites = (indices_here // latent.lattice.channels).unique()
        order = indices_at(sites, latent.lattice).flatten()
        levels.append(PartialLevel(sites, parent, _look_up(order, indices_here, places)))
    return Subplan(plan, len(indices), tuple(steps), tuple(levels))


def _partial_step(
    step: Step, tiling: Tiling, parent: int, places: Tensor, indices: Tensor, group_width: int | None
) -> tuple[PartialStep, Tensor]:
    """The partial step of a step with followed variables, and the flat indices of the partial step's variables."""
    positions, within, is_covered = tiling.locate(indices)
    touched = positions[is_covered].unique()
    groups = [touched] if group_width is None else tiling.groups(touched, group_width)
    touched = torch.cat(groups)
    source = torch.full((len(touched) * tiling.variables,), -1)
    rank = _look_up(positions[is_covered], touched, torch.arange(len(touched)))
    source[rank * tiling.variables + within[is_covered]] = places[is_covered]
    source = torch.cat([source, places[~is_covered]])
    partial_step = PartialStep(step, touched, tuple(map(len, groups)), parent, source)
    return partial_step, torch.cat([tiling.members(touched).flatten(), indices[~is_covered]])


def _boxes(operation: Apply, indices: Tensor) -> Boxes | None:
    """The boxes of a field with followed variables; None if the variables extend over the whole lattice."""
    lattice, radius = operation.lattice, operation.radius
    coordinates = torch.unravel_index((indices // lattice.channels).unique(), lattice.shape)
    entry = hull([c.unique().tolist() for c in coordinates], lattice)
    if entry.shape == lattice.shape:
        return None
    return Boxes(entry, _around(entry, radius, lattice), _around(entry, [2 * r for r in radius], lattice))


def _around(box: Box, sites: Sequence[int], lattice: Lattice) -> Box:
    """In each dimension, the box with more sites on both sides; or, where that goes around, all sites about the box."""
    grown = box.grown(sites, lattice)
    first = [a - (n - b + a) // 2 for a, b, n in zip(box.start, box.stop, lattice.shape, strict=True)]
    spans = zip(grown.start, grown.stop, first, lattice.shape, strict=True)
    return Box.of((a, b) if b - a <= n else (middle, middle + n) for a, b, middle, n in spans)


def _partial_field(
    step: Step, boxes: Boxes, parent: int, places: Tensor, indices: Tensor
) -> tuple[PartialStep, Tensor]:
    """The partial step of a local field bijector, and the flat indices of the variables of the core."""
    lattice = step.apply.lattice
    source = _look_up(indices_at(boxes.box.sites(lattice).flatten(), lattice).flatten(), indices, places)
    partial_step = PartialStep(step, torch.zeros(1, dtype=torch.int64), (1,), parent, source, boxes)
    return partial_step, indices_at(boxes.core.sites(lattice).flatten(), lattice).flatten()


def _look_up(keys: Tensor, table_keys: Tensor, table_values: Tensor) -> Tensor:
    """The value of each key in a table; -1 for keys that are not in the table."""
    if not len(table_keys):
        return torch.full_like(keys, -1)
    order = table_keys.argsort()
    nearest = order[torch.searchsorted(table_keys[order], keys).clamp(max=len(table_keys) - 1)]
    return torch.where(table_keys[nearest] == keys, table_values[nearest], -1)
