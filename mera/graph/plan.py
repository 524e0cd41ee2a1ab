"""Plans: layouts compiled to a sequence of steps, which hold integers and einops patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.table import Table, Tabled
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply, Move, Operation


def context_of(context: tuple[int, ...] | None, event_shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of the context of one event: (K,), or (K, *sites of the event) if there are values at each pixel."""
    return context if context is None or len(context) == 1 else (context[0], *event_shape[1:])


@dataclass(frozen=True)
class Step:
    """One operation of a plan on one value.

    Args:
        node: the name of the node that the step is part of.
        level: the level of the first latents that leave after the step, 0 for the finest. If several levels leave at
            the same cut, the finest of them.
        operation: the operation, such as an `Apply`.
        source: the number of the value that the step consumes.
        targets: the numbers of the values that the step produces.
        module: the key of the bijector if the operation is `Apply`, else empty; steps with the same key share a
            bijector.
    """

    node: str
    level: int
    operation: Operation
    source: int
    targets: tuple[int, ...]
    module: str = ""

    @property
    def apply(self) -> Apply:
        """The operation of a step that applies a bijector."""
        return cast(Apply, self.operation)

    @property
    def move(self) -> Move:
        """The operation of a step that only moves variables."""
        return cast(Move, self.operation)


@dataclass(frozen=True)
class LatentLevel:
    """One level of latents.

    Args:
        node: the name of the `Latent` node.
        value: the number of the value that holds the latents.
        lattice: the lattice of the latents.
    """

    node: str
    value: int
    lattice: Lattice


@dataclass(frozen=True, repr=False)
class Plan(Tabled):
    """A compiled layout: frozen, hashable, and without tensors or lists of sites.

    The values between steps are numbered; the data is value 0. Each value is produced once and consumed once. A forward
    pass runs the steps in order, and an inverse pass runs them in reverse.

    Args:
        input: the lattice of the data.
        steps: the steps, each after the step that produces its source.
        latents: the levels of latents, finest first.
        context: the shape of a context, (K,) or (K, *shape); None if the flow is not conditional.
    """

    input: Lattice
    steps: tuple[Step, ...]
    latents: tuple[LatentLevel, ...]
    context: tuple[int, ...] | None = None

    def check_level(self, level: object) -> int:
        """Return a level of latents as an integer, and refuse a level that the plan does not have."""
        if not is_integer(level) or not 0 <= level < len(self.latents):  # type: ignore[operator]
            raise InputError(f"a level from 0 to {len(self.latents) - 1}", repr(level))
        return int(level)  # type: ignore[call-overload]

    @property
    def bijections(self) -> tuple[Step, ...]:
        """The steps that apply a bijector, in order."""
        return tuple(step for step in self.steps if step.module)

    @property
    def entries(self) -> tuple[int, ...]:
        """The number of the first value of each level, finest first, which is the data or the kept output of a cut."""
        value, entries = 0, [0]
        for step in self.steps:
            if step.source == value:
                value = step.targets[0]
                if len(step.targets) > 1:
                    entries.append(value)
        return tuple(entries)

    @property
    def period(self) -> tuple[int, ...]:
        """For each dimension, the number whose multiples are the edges of lattices that fit the patches."""
        edges = (1,) * self.input.dim
        cells = {0: edges}  # for each value, the pixels in a site
        for step in self.steps:
            cell, operation = cells[step.source], step.operation
            blocks = step.apply.stride if step.module else operation.cell
            edges = tuple(math.lcm(e, c * b) for e, c, b in zip(edges, cell, blocks, strict=True))
            cells |= dict.fromkeys(step.targets, tuple(c * b for c, b in zip(cell, operation.cell, strict=True)))
        return edges

    @property
    def table(self) -> Table:
        """A table of the steps, with lattice, grid of positions, einops pattern, and latents among the outputs."""
        levels = {latent.value: f"z{h}" for h, latent in enumerate(self.latents)}
        header = ("step", "node", "level", "lattice", "kernel", "stride", "offset", "patches", "pattern", "sends out")
        rows = []
        for i, step in enumerate(self.steps):
            outputs = zip(step.targets, step.operation.outputs, strict=True)
            latents = ", ".join(f"{levels[value]}: {lattice}" for value, lattice in outputs if value in levels)
            columns = step.operation.settings
            rows.append((str(i), step.node, str(step.level), str(step.operation.lattice), *columns, latents))
        return Table(header, rows)

    @property
    def legend(self) -> str:
        """The caption below the table, with the numbers of latents and the meaning of "patches" and "field"."""
        variables = " + ".join(f"{latent.lattice.variables}" for latent in self.latents)
        return (
            f"{len(self.latents)} levels of latents, finest first: {variables} variables\n"
            "patches: the number of whole patches in one sample; field: the whole lattice is one event"
        )
