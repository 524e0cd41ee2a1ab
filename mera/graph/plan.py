"""The compiled form of a layout: what to do, step by step, in integers and einops patterns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mera._utils.table import table
from mera.graph.actions import Action, Apply, Cut, Regroup
from mera.graph.lattice import Lattice

__all__ = ["LatentLevel", "Plan", "Step", "brief", "context_of"]


def context_of(context: tuple[int, ...] | None, event_shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of the context of an event: (K,), or (K, *sites of the event) if it is that of each pixel."""
    return context if context is None or len(context) == 1 else (context[0], *event_shape[1:])


@dataclass(frozen=True)
class Step:
    """One action on one value.

    Args:
        node: the layout's node that this step is part of.
        level: how often the lattice has been cut between the data and here, 0 for the finest.
        action: what is done.
        source: number of the value that the step consumes.
        targets: numbers of the values that it produces.
        module: key of the bijector, for `Apply`, else empty; steps with the same key share one.
    """

    node: str
    level: int
    action: Action
    source: int
    targets: tuple[int, ...]
    module: str = ""


@dataclass(frozen=True)
class LatentLevel:
    """One level of latents.

    Args:
        node: the layout's node.
        value: number of the value that leaves the flow here.
        lattice: its channels and edge lengths.
    """

    node: str
    value: int
    lattice: Lattice


@dataclass(frozen=True)
class Plan:
    """A layout, compiled: frozen, hashable, without a tensor or a list of sites in it.

    Values are numbered; the data is value 0. Every value is produced once and consumed once, so that a forward
    pass runs the steps in order, an inverse pass runs them backwards, and neither keeps more than is still needed.

    Args:
        input: the lattice of the data.
        steps: in an order in which sources come first.
        latents: the levels, finest first.
        context: the shape of a context, (K,) or (K, *shape); None if there is none.
    """

    input: Lattice
    steps: tuple[Step, ...]
    latents: tuple[LatentLevel, ...]
    context: tuple[int, ...] | None = None

    def context_shape(self, action: Apply) -> tuple[int, ...] | None:
        """The shape of the context of one event of an action: (K,), or (K, *sites of the event)."""
        return context_of(self.context, action.event_shape)

    @property
    def entries(self) -> tuple[int, ...]:
        """Numbers of the values with which each level begins, finest first: the data, then what every cut keeps."""
        value, entries = 0, [0]
        for step in self.steps:
            if step.source == value:
                value = step.targets[0]
                if isinstance(step.action, Cut):
                    entries.append(value)
        return tuple(entries)

    def __str__(self) -> str:
        levels = {latent.value: f"z{h}" for h, latent in enumerate(self.latents)}
        header = ("step", "node", "level", "lattice", "kernel", "stride", "offset", "patches", "pattern", "sends out")
        rows = [
            (str(i), step.node, str(step.level), str(step.action.lattice), *_columns(step.action), _out(step, levels))
            for i, step in enumerate(self.steps)
        ]
        variables = " + ".join(f"{latent.lattice.variables}" for latent in self.latents)
        return (
            f"{table(header, rows)}\n"
            f"{len(self.latents)} levels of latents, finest first: {variables} variables\n"
            "patches: those of one sample that a border does not cut; field: the whole lattice is one event"
        )


def _columns(action: Action) -> Iterable[str]:
    """Kernel, stride, offset, patches and pattern of an action, as the table shows them."""
    match action:
        case Apply():
            kernel, stride, offset = map(brief, (action.kernel, action.stride, action.offset))
            pattern = action.pattern + (f" (c: {action.passive} stay)" if action.passive else "")
            return kernel, stride, offset, "field" if action.is_field else str(action.events), pattern
        case Regroup():
            return "", brief(action.stride), "", "", action.pattern
        case Cut():
            return "", "", "", "", action.pattern


def brief(values: tuple[int, ...]) -> str:
    """One number where all dimensions agree."""
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))


def _out(step: Step, levels: dict[int, str]) -> str:
    """The latents that a step sends out, with their shape."""
    return ", ".join(
        f"{levels[value]}: {lattice}"
        for value, lattice in zip(step.targets, step.action.outputs, strict=True)
        if value in levels
    )
