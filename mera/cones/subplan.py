"""Subplans: a plan restricted to the events that a few variables of the data pass through.

A `Subplan` follows variables of the data through a plan. For each step that applies a bijector, a `PartialStep` has the
events that contain reached variables. Operations that only move variables change the columns from which the next
partial step reads its variables, and do not become partial steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from mera.bijectors.base import zero_log_det
from mera.bijectors.boxes import Box, hull
from mera.bijectors.local import run_on_box
from mera.executor.contexts import Context, event_context
from mera.executor.passes import StepFunction
from mera.executor.plan_module import ContextOfStep, PlanModule
from mera.graph import Apply, Lattice, Plan, Step
from mera.graph.indexing import indices_at

IsLocal = Callable[[Step], bool]
"""A function that returns whether the field bijector of a step can be evaluated on a box."""


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
        parent: the index of the partial step that the variables come from; -1 for the data.
        source: for each variable the index among the parent's variables; -1 for a variable that cannot change, which
            is a constant.
        boxes: for a local field bijector, the boxes of its lattice; None for patches, and if the reached variables
            extend over the whole lattice.
    """

    step: Step
    positions: Tensor
    parent: int
    source: Tensor
    boxes: Boxes | None = None

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """The number of variables in events, and the number of variables outside of all events."""
        inside = len(self.positions) * self.step.apply.event_tiling.variables
        return inside, len(self.source) - inside

    @property
    def size(self) -> int:
        """The number of variables in the row."""
        if self.boxes is None:
            return len(self.source)
        return self.step.apply.lattice.channels * math.prod(self.boxes.core.shape)

    def contexts(self, plan: Plan, context: Tensor) -> Tensor:
        """The contexts of the events, (n_events, *shape), from the context of one image, (1, *plan.context)."""
        if context.ndim == 2:  # a huge lattice may have many more events
            return context.repeat(len(self.positions), 1)
        events = event_context(plan, self.step.apply, context).index_select(0, self.positions.to(context.device))
        return events if self.boxes is None else self.boxes.box.take(events)

    def row(self, indices: Tensor) -> Tensor:
        """The flat indices of the variables in the row, (size,), from those of the reached variables of the source."""
        tiling, lattice = self.step.apply.event_tiling, self.step.apply.lattice
        if self.boxes is not None:
            return indices_at(self.boxes.core.sites(lattice).flatten(), lattice).flatten()
        return torch.cat([tiling.members(self.positions).flatten(), indices[~tiling.locate(indices)[2]]])

    @property
    def entry_source(self) -> Tensor:
        """`source` of the sites that the inverse computes: the entry of a local field bijector."""
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

    @property
    def entry_source(self) -> Tensor:
        """`source`, as of a partial step."""
        return self.source


class Subplan:
    """The part of a plan that variables of the data pass through, with all variables of the events that they meet.

    These are more variables than a cone has, such as passive channels: the inverse of an event depends on all of its
    variables. A subplan runs in both directions, with rows (K, variables): K settings of the variables of a value in
    one batch. Other variables are constant.

    Args:
        plan: the whole plan.
        first: the flat indices of the variables of the data, in the order of the first row.
        is_local: whether the field bijector of a step can be evaluated on a box.
        device: the device of the rows.

    Attributes:
        size: the number of variables in the first row.
        steps: the partial steps, in the order of the plan's steps.
        levels: one partial level for each level of latents, finest first.
    """

    def __init__(self, plan: Plan, first: Tensor, is_local: IsLocal, device: torch.device) -> None:
        self.plan, self.size = plan, len(first)
        self.steps: list[PartialStep] = []
        # for each value: the index of a partial step; sorted flat indices of variables, and their columns in its row
        places = {0: (-1, *first.sort())}
        for step in plan.steps:
            parent, indices, columns = places.pop(step.source)
            if not step.module:
                outputs = step.move.map_forward(indices)
                for target, (is_moved, moved) in zip(step.targets, outputs, strict=True):
                    moved, order = moved.sort()
                    places[target] = parent, moved, columns[is_moved][order]
                continue
            partial = _partial_step(step, parent, indices, columns, is_local)
            if partial is not None:
                parent, (indices, columns) = len(self.steps), partial.row(indices).sort()
                self.steps.append(partial)
            places[step.targets[0]] = parent, indices, columns
        self.levels: list[PartialLevel] = []
        for latent in plan.latents:
            parent, indices, columns = places[latent.value]
            sites = (indices // latent.lattice.channels).unique()
            order = indices_at(sites, latent.lattice).flatten()
            self.levels.append(PartialLevel(sites, parent, _look_up(order, indices, columns)))
        self._nodes: list[PartialStep | PartialLevel] = [*self.steps, *self.levels]
        self._has_constants = [bool((node.source < 0).any()) for node in self._nodes]
        sizes = {-1: self.size} | {i: step.size for i, step in enumerate(self.steps)}
        columns_of_parent = [_columns_of_parent(node.source, sizes[node.parent]) for node in self._nodes]
        self._columns_of_parent = [columns.to(device) for columns in columns_of_parent]
        self._children: dict[int, list[int]] = {parent: [] for parent in sizes}
        for i, node in enumerate(self._nodes):
            self._children[node.parent].append(i)
        self._columns_of_children = {
            parent: _columns_of_children([self._nodes[i].entry_source for i in children], sizes[parent]).to(device)
            for parent, children in self._children.items()
        }

    def contexts(self, flow: PlanModule, context: Context | None) -> dict[Step, Tensor | None]:
        """The contexts of the events of each partial step, (n_events, *shape), for one image.

        They are None for a bijector that takes none. For `context` see `ContextEncoder.forward`.
        """
        values: Any = flow.encoded_context(context, flow.reference.new_empty(1))
        return {
            part.step: None if flow.bijector(part.step).context_shape is None else part.contexts(self.plan, values)
            for part in self.steps
        }

    def forward(
        self, row: Tensor, constants: Sequence[Tensor], flow: PlanModule, contexts: ContextOfStep
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Map the reached variables of the data, (K, size), to the latents.

        `constants` has for each partial step and then each level the variables that are not reached, in order, (n,).

        Returns:
            A row (K, n_latents) for each level of latents, finest first; and the log-det (K,) of the subplan's events.
        """
        rows, run_step = {-1: row}, flow.step_function(contexts)
        log_det = zero_log_det(row)
        latents = []
        for i, (node, columns) in enumerate(zip(self._nodes, self._columns_of_parent, strict=True)):
            constant = [constants[i].expand(row.shape[0], -1)] if self._has_constants[i] else []
            inputs = _gather([rows[node.parent], *constant], columns)
            if isinstance(node, PartialStep):
                if node.boxes is None:
                    rows[i], change = _transform(node, inputs, run_step)
                else:
                    rows[i], change = _transform_field(node, inputs, flow, contexts)
                log_det = log_det + change
            else:
                latents.append(inputs)
        return tuple(latents), log_det

    def inverse(self, latents: Sequence[Tensor], flow: PlanModule, contexts: ContextOfStep) -> Tensor:
        """Map rows of all latents at the levels' sites, (K, n_latents), to the reached variables, (K, size)."""
        run_step = flow.step_function(contexts, inverse=True)
        rows = dict(enumerate(latents, start=len(self.steps)))
        for i, step in reversed(list(enumerate(self.steps))):
            row = self._collect(i, rows)
            if step.boxes is None:
                rows[i] = _transform(step, row, run_step)[0]
            else:
                rows[i] = _transform_field(step, row, flow, contexts, inverse=True)[0]
        return self._collect(-1, rows)

    def _collect(self, parent: int, rows: dict[int, Tensor]) -> Tensor:
        """Make the row of a parent from the rows of its children, and remove the children's rows."""
        return _gather([rows.pop(child) for child in self._children[parent]], self._columns_of_children[parent])


def _partial_step(step: Step, parent: int, indices: Tensor, columns: Tensor, is_local: IsLocal) -> PartialStep | None:
    """The events of a step with reached variables; None if there are none.

    `indices` are the sorted flat indices of reached variables, and `columns` their columns in the row of the parent.
    """
    tiling, lattice = step.apply.event_tiling, step.apply.lattice
    positions, _, is_covered = tiling.locate(indices)
    if not is_covered.any():
        return None
    boxes = _boxes(step.apply, indices) if step.apply.is_field and is_local(step) else None
    touched = positions[is_covered].unique()
    if boxes is not None:
        members = indices_at(boxes.box.sites(lattice).flatten(), lattice).flatten()
        return PartialStep(step, touched, parent, _look_up(members, indices, columns), boxes)
    source = _look_up(tiling.members(touched).flatten(), indices, columns)
    return PartialStep(step, touched, parent, torch.cat([source, columns[~is_covered]]))


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
    """The value of each key in a table of sorted keys; -1 for keys that are not in the table."""
    if not len(table_keys):
        return torch.full_like(keys, -1)
    nearest = torch.searchsorted(table_keys, keys).clamp(max=len(table_keys) - 1)
    return torch.where(table_keys[nearest] == keys, table_values[nearest], -1)


def _transform_field(
    partial_step: PartialStep, row: Tensor, flow: PlanModule, contexts: ContextOfStep, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Transform K settings of the box of a local field bijector to its core, or of the core back to the entry."""
    entry, core, box = cast(Boxes, partial_step.boxes)
    step, context, (here, target) = partial_step.step, contexts(partial_step.step), (box, core)
    if inverse:
        here, target = core, entry
        context = context if context is None or context.ndim == 2 else core.crop(context, box)
    values, lattice = row.unflatten(1, (step.apply.lattice.channels, *here.shape)), step.apply.lattice
    values, by_site = run_on_box(flow.bijector(step), lattice, values, here, target, context, inverse)
    return values.flatten(1), by_site.flatten(1).sum(1)


def _columns_of_parent(source: Tensor, size: int) -> Tensor:
    """For each variable of a node its column in the parent's row of `size` columns, followed by the constants."""
    is_constant = source < 0
    return torch.where(is_constant, size + is_constant.cumsum(0) - 1, source)


def _columns_of_children(sources: Sequence[Tensor], size: int) -> Tensor:
    """For each of a parent's `size` variables the column in the rows of the children, one after another."""
    source = torch.cat([*sources])
    columns = torch.empty(size, dtype=torch.int64)
    columns[source[source >= 0]] = (source >= 0).nonzero()[:, 0]
    return columns


def _gather(rows: list[Tensor], columns: Tensor) -> Tensor:
    """Select columns of the concatenated rows. The gradient of `gather` is a fast scatter, unlike that of indexing."""
    row = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
    return row.gather(1, columns.expand(row.shape[0], -1))


def _transform(partial_step: PartialStep, row: Tensor, run_step: StepFunction) -> tuple[Tensor, Tensor]:
    """Transform the events in a row; the variables outside of all events do not change."""
    changing, unchanged = row.split(partial_step.sizes, dim=1)
    events = changing.reshape(-1, *partial_step.step.apply.event_shape)
    changed, log_det = run_step(partial_step.step, events)
    changed = changed.reshape(changing.shape)
    if partial_step.sizes[1]:
        changed = torch.cat([changed, unchanged], dim=1)
    return changed, log_det.reshape(row.shape[0], partial_step.positions.shape[0]).sum(1)
