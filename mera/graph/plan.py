"""Plans: layouts compiled to a sequence of steps, which hold integers and einops patterns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import cast

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.table import Table, Tabled
from mera.bijectors.base import Bijector
from mera.graph.lattice import Lattice
from mera.graph.layout import Layout
from mera.graph.layout_error import LayoutError, within
from mera.graph.nodes import Latent, Local, Node
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

    def context_shape(self, operation: Apply) -> tuple[int, ...] | None:
        """The context shape of one event of an operation, (K,) or (K, *sites); None if the flow is not conditional."""
        return context_of(self.context, operation.event_shape)

    @property
    def entries(self) -> tuple[int, ...]:
        """For each level, finest first, the number of its first value: the data, then the kept output of each cut."""
        value, entries = 0, [0]
        for step in self.steps:
            if step.source == value:
                value = step.targets[0]
                if len(step.targets) > 1:
                    entries.append(value)
        return tuple(entries)

    @property
    def table(self) -> Table:
        """A table with a row for each step: lattice, grid of positions, einops pattern, latents among the outputs."""
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
        """The caption below the table: the numbers of latents, and the meaning of "patches" and "field"."""
        variables = " + ".join(f"{latent.lattice.variables}" for latent in self.latents)
        return (
            f"{len(self.latents)} levels of latents, finest first: {variables} variables\n"
            "patches: the number of whole patches in one sample; field: the whole lattice is one event"
        )


def compile(layout: Layout) -> Plan:
    """Check that a layout is complete, and compile it to a `Plan`.

    Raises:
        LayoutError: if the layout is not a bijection, or an output of a node is not the input of another node; the
            message names the node.
    """
    if not isinstance(layout, Layout):
        raise LayoutError("a Layout", f"{type(layout).__name__}")
    entry = layout.input.lattice
    value_numbers = count(1)
    values = {("input", 0): (0, entry)}  # (node, output) -> number and lattice of the output's value
    keys: dict[str, tuple[str, Local, Apply]] = {}
    steps: list[Step] = []
    latents: list[LatentLevel] = []
    for name, node, source, output in layout.walk():
        value, lattice = values[source, output]
        if isinstance(node, Latent):
            latents.append(LatentLevel(name, value, lattice))
            continue
        outputs: tuple[tuple[int, Lattice], ...] = ((value, lattice),)
        with within(f"node {name!r}"):
            operations = node.lower(lattice)
        for operation in operations:
            if operation.lattice != lattice:
                raise LayoutError(f"an operation on {lattice}", f"{operation}", node=name)
            outputs = tuple((next(value_numbers), out) for out in operation.outputs)
            key = _module_key(keys, name, node, operation) if isinstance(operation, Apply) else ""
            steps.append(Step(name, 0, operation, value, tuple(target for target, _ in outputs), key))
            value, lattice = outputs[0]
        for index, output_value in enumerate(outputs):
            values[name, index] = output_value
    _check_conservation(entry, steps, latents)
    latents.sort(key=lambda latent: -latent.lattice.sites)  # stable: levels of equal size stay as declared
    return Plan(entry, _with_levels(steps, latents), tuple(latents), layout.context)


def _with_levels(steps: Sequence[Step], latents: Sequence[LatentLevel]) -> tuple[Step, ...]:
    """The steps with their levels: that of the latents that leave next behind a step, the finest of several."""
    leaving = {latent.value: level for level, latent in enumerate(latents)}
    levels = dict(leaving)
    for step in reversed(steps):
        next_ones = [leaving[target] for target in step.targets if target in leaving]
        levels[step.source] = min(next_ones or [levels[target] for target in step.targets])
    return tuple(replace(step, level=levels[step.source]) for step in steps)


def _check_conservation(lattice: Lattice, steps: Sequence[Step], latents: Sequence[LatentLevel]) -> None:
    """Raise a LayoutError unless each variable of the input arrives in the latents once."""
    readers = Counter([step.source for step in steps] + [latent.value for latent in latents])
    for step in steps:
        for index, target in enumerate(step.targets):
            if readers[target] != 1:
                got = f"{readers[target]} for output {index} of {step.operation}"
                raise LayoutError("one operation or level of latents that takes each output", got, node=step.node)
    if (n := sum(latent.lattice.variables for latent in latents)) != lattice.variables:
        raise LayoutError(f"latents of {lattice.variables} variables, as the input has", str(n))


def _module_key(keys: dict[str, tuple[str, Local, Apply]], name: str, node: Node, operation: Apply) -> str:
    """The key of a node's module: its `share`, else the key of an earlier node with the same bijector, else its name.

    `keys` has for each key so far the name, the node and the operation that used it first; a new key is added. A node
    that cannot use the module of the first node with its key is refused.

    Raises:
        LayoutError: if the node cannot use the module of the first node with the same key.
    """
    if not isinstance(node, Local):
        raise LayoutError("a Local, or a subclass of it, to apply a bijector", f"{node!r}", node=name)
    key = node.share or name
    if node.share is None and isinstance(node.bijector, Bijector):
        key = next((k for k, (_, other, _) in keys.items() if other.bijector is node.bijector), key)
    first, other, first_operation = keys.setdefault(key, (name, node, operation))
    if node.share != other.share:
        raise LayoutError("a share that is not the name of a node", f"{key!r}, also of {first!r}", node=name)
    if node.bijector is not other.bijector and node.bijector != other.bijector:
        raise LayoutError(f"the bijector of {first!r}, whose module it shares", "another", node=name)
    of_lattices = operation.is_field and first_operation.is_field  # a local bijector fits any of them
    axes = slice(1 if of_lattices else None)
    if operation.event_shape[axes] != first_operation.event_shape[axes]:
        expected = f"events of shape {first_operation.event_shape} as in {first!r}, whose module it shares"
        raise LayoutError(expected, f"{operation.event_shape}", node=name)
    if operation.passive != first_operation.passive:
        expected = f"{first_operation.passive} passive channels as in {first!r}, whose module it shares"
        raise LayoutError(expected, f"{operation.passive}", node=name)
    return key
