"""Running the pieces of a plan: many settings of a few variables at once, everything else as it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange, reduce
from torch import Tensor

from mera.bijectors.base import zero_log_det
from mera.cones.subplan import Exit, Piece, Pieces
from mera.graph.actions import Apply
from mera.graph.executor import Transform, transformed

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Runs pieces in both directions. Rows are (K, variables), for K settings of the variables.

    Args:
        pieces: what to run.
        device: where the rows are.
    """

    def __init__(self, pieces: Pieces, device: torch.device) -> None:
        self.pieces = pieces
        sizes = {-1: pieces.size} | {i: len(piece.source) for i, piece in enumerate(pieces.pieces)}
        self._nodes: list[Piece | Exit] = [*pieces.pieces, *pieces.exits]
        self._from_parent = [_after_parent(node.source, sizes[node.parent]).to(device) for node in self._nodes]
        self._has_constants = [bool((node.source < 0).any()) for node in self._nodes]
        self._children: dict[int, list[int]] = {parent: [] for parent in sizes}
        for i, node in enumerate(self._nodes):
            self._children[node.parent].append(i)
        self._from_children = {
            parent: _behind_children([self._nodes[i].source for i in children], sizes[parent]).to(device)
            for parent, children in self._children.items()
        }

    def forward(
        self, row: Tensor, constants: Sequence[Tensor], transform: Transform
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The variables followed, to a row for each level of latents and the log-det (K,) of the pieces' events.

        Args:
            row: (K, size).
            constants: for each piece and then each exit, its variables that are not followed, in order.
            transform: see `mera.graph.executor`.
        """
        rows = {-1: row}
        log_det = zero_log_det(row)
        latents = []
        for i, (node, index) in enumerate(zip(self._nodes, self._from_parent, strict=True)):
            known = [constants[i].expand(row.shape[0], -1)] if self._has_constants[i] else []
            before = _gather([rows[node.parent], *known], index)
            if isinstance(node, Piece):
                rows[i], change = _transform(node, before, transform)
                log_det = log_det + change
            else:
                latents.append(before)
        return tuple(latents), log_det

    def inverse(self, latents: Sequence[Tensor], transform: Transform) -> Tensor:
        """A row for each level of latents, to the variables followed, (K, size). Nothing else is needed for that."""
        first = len(self.pieces.pieces)
        rows = {first + h: level for h, level in enumerate(latents)}
        for i, piece in reversed(list(enumerate(self.pieces.pieces))):
            rows[i] = _transform(piece, self._collect(i, rows), transform)[0]
        return self._collect(-1, rows)

    def _collect(self, parent: int, rows: dict[int, Tensor]) -> Tensor:
        return _gather([rows.pop(child) for child in self._children[parent]], self._from_children[parent])


def _after_parent(source: Tensor, size: int) -> Tensor:
    """Where a node's variables are in the row of its parent's with the constants behind."""
    constant = source < 0
    return torch.where(constant, size + constant.cumsum(0) - 1, source)


def _behind_children(sources: Sequence[Tensor], size: int) -> Tensor:
    """Where a parent's variables are in the rows of its children, one behind the other."""
    source = torch.cat([*sources])
    back = torch.empty(size, dtype=torch.int64)
    back[source[source >= 0]] = (source >= 0).nonzero()[:, 0]
    return back


def _gather(rows: list[Tensor], index: Tensor) -> Tensor:
    """Columns of the rows side by side. The gradient of `gather` is a fast scatter, unlike that of indexing."""
    row = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
    return row.gather(1, index.expand(row.shape[0], -1))


def _transform(piece: Piece, row: Tensor, transform: Transform) -> tuple[Tensor, Tensor]:
    """Transform the events in a row, group by group; what the step passes by stays."""
    action = piece.step.action
    if not isinstance(action, Apply):
        raise TypeError(f"Expected a piece of a step that applies a bijector; got {action}")
    size = math.prod(action.event_shape)
    inside = sum(piece.group_sizes) * size
    events = rearrange(row[:, :inside], "k (n e) -> k n e", e=size)
    results = []
    for n, group in zip(piece.group_sizes, events.split(piece.group_sizes, dim=1), strict=True):
        changed, change = transformed(piece.step, group.reshape(row.shape[0] * n, *action.event_shape), transform)
        results.append((changed.reshape(row.shape[0], n * size), reduce(change, "(k n) -> k", "sum", n=n)))
    rows, changes = zip(*results, strict=True)
    return torch.cat([*rows, row[:, inside:]], dim=1), torch.stack(changes).sum(0)
