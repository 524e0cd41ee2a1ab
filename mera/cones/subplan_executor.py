"""The executor of subplans: transforms K settings of a few variables in one batch; other variables are constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from mera.bijectors.base import zero_log_det
from mera.cones.subplan import Boxes, PartialLevel, PartialStep, Subplan
from mera.graph.executor import Transform, transform_events
from mera.graph.local_fields import run_on_box
from mera.graph.runner import ContextOfStep, Runner


class SubplanExecutor:
    """Run a subplan in both directions, with rows (K, variables): K settings of the variables of a value."""

    def __init__(self, subplan: Subplan, device: torch.device) -> None:
        self.subplan = subplan
        sizes = {-1: subplan.size} | {i: step.size for i, step in enumerate(subplan.steps)}
        self._nodes: list[PartialStep | PartialLevel] = [*subplan.steps, *subplan.levels]
        self._sizes = [_sizes(step) for step in subplan.steps]
        columns = [_columns_of_parent(node.source, sizes[node.parent]) for node in self._nodes]
        self._columns_of_parent = [parent_columns.to(device) for parent_columns in columns]
        self._has_constants = [bool((node.source < 0).any()) for node in self._nodes]
        self._children: dict[int, list[int]] = {parent: [] for parent in sizes}
        for i, node in enumerate(self._nodes):
            self._children[node.parent].append(i)
        sources = [node.source_of_entry if isinstance(node, PartialStep) else node.source for node in self._nodes]
        self._columns_of_children = {
            parent: _columns_of_children([sources[i] for i in children], sizes[parent]).to(device)
            for parent, children in self._children.items()
        }

    def forward(
        self, row: Tensor, constants: Sequence[Tensor], runner: Runner, contexts: ContextOfStep
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Map the reached variables of the data to the latents.

        Args:
            row: the reached variables, (K, size).
            constants: for each partial step and then each level, the variables that are not reached, in order, (n,).
            runner: has the bijectors.
            contexts: the contexts of the events of a step.

        Returns:
            A row (K, n_latents) for each level of latents, finest first; and the log-det (K,) of the subplan's events.
        """
        rows, transform = {-1: row}, runner.transform(contexts)
        log_det = zero_log_det(row)
        latents = []
        for i, (node, columns) in enumerate(zip(self._nodes, self._columns_of_parent, strict=True)):
            constant = [constants[i].expand(row.shape[0], -1)] if self._has_constants[i] else []
            inputs = _gather([rows[node.parent], *constant], columns)
            if isinstance(node, PartialStep):
                if node.boxes is None:
                    rows[i], change = _transform(node, self._sizes[i], inputs, transform)
                else:
                    rows[i], change = _transform_field(node, inputs, runner, contexts)
                log_det = log_det + change
            else:
                latents.append(inputs)
        return tuple(latents), log_det

    def inverse(self, latents: Sequence[Tensor], runner: Runner, contexts: ContextOfStep) -> Tensor:
        """Map the latents to the reached variables of the data.

        Args:
            latents: a row (K, n_latents) for each level, finest first, with all latents at the level's sites.
            runner: has the bijectors.
            contexts: the contexts of the events of a step.

        Returns:
            The reached variables, (K, size).
        """
        first_level, transform = len(self.subplan.steps), runner.transform(contexts, inverse=True)
        rows = {first_level + h: level for h, level in enumerate(latents)}
        for i, step in reversed(list(enumerate(self.subplan.steps))):
            row = self._collect(i, rows)
            if step.boxes is None:
                rows[i] = _transform(step, self._sizes[i], row, transform)[0]
            else:
                rows[i] = _transform_field(step, row, runner, contexts, inverse=True)[0]
        return self._collect(-1, rows)

    def _collect(self, parent: int, rows: dict[int, Tensor]) -> Tensor:
        """Make the row of a parent from the rows of its children, and remove the children's rows."""
        return _gather([rows.pop(child) for child in self._children[parent]], self._columns_of_children[parent])


def _transform_field(
    partial_step: PartialStep, row: Tensor, runner: Runner, contexts: ContextOfStep, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Transform K settings of the box of a local field bijector to its core, or of the core back to the entry."""
    entry, core, box = cast(Boxes, partial_step.boxes)
    step, context, (here, target) = partial_step.step, contexts(partial_step.step), (box, core)
    if inverse:
        here, target = core, entry
        context = context if context is None or context.ndim == 2 else core.crop(context, box)
    values, lattice = row.unflatten(1, (step.apply.lattice.channels, *here.shape)), step.apply.lattice
    values, by_site = run_on_box(runner.bijector(step), lattice, values, here, target, context, inverse)
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


def _joined(rows: list[Tensor]) -> Tensor:
    """One row of all variables; a single row is returned without a copy."""
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def _gather(rows: list[Tensor], columns: Tensor) -> Tensor:
    """Select columns of the concatenated rows. The gradient of `gather` is a fast scatter, unlike that of indexing."""
    row = _joined(rows)
    return row.gather(1, columns.expand(row.shape[0], -1))


def _sizes(partial_step: PartialStep) -> tuple[int, ...]:
    """The number of variables in each group of events, and the number of variables outside of all events."""
    groups = [n * math.prod(partial_step.step.apply.event_shape) for n in partial_step.group_sizes]
    return *groups, len(partial_step.source) - sum(groups)


def _transform(
    partial_step: PartialStep, sizes: tuple[int, ...], row: Tensor, transform: Transform
) -> tuple[Tensor, Tensor]:
    """Transform the events in a row, group by group; the variables outside of all events do not change."""
    settings, event_shape = row.shape[0], partial_step.step.apply.event_shape
    *groups, unchanged = row.split(sizes, dim=1)
    rows, changes = [], []
    for n, group in zip(partial_step.group_sizes, groups, strict=True):
        batch = group.reshape(settings * n, *event_shape)
        transformed, log_det = transform_events(partial_step.step, batch, transform)
        rows.append(transformed.reshape(group.shape))
        changes.append(log_det.reshape(settings, n).sum(1))
    if sizes[-1]:
        rows.append(unchanged)
    return _joined(rows), changes[0] if len(changes) == 1 else torch.stack(changes).sum(0)
