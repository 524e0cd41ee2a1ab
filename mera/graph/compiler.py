"""The compiler: from a layout, a graph of nodes, to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import cast

from mera.bijectors.base import Bijector
from mera.graph.lattice import Lattice
from mera.graph.layout import Layout
from mera.graph.layout_error import LayoutError, within
from mera.graph.nodes import Latent, Local
from mera.graph.operations import Apply
from mera.graph.plan import LatentLevel, Plan, Step


def compile(layout: Layout) -> Plan:
    """Check that a layout is complete, and compile it to a `Plan`.

    The levels of latents are sorted by the number of their sites. Of two equally large levels, the one that is not in
    the kept output of the cut that parts them comes first.

    Raises:
        LayoutError: if the layout is not a bijection, or an output of a node is not the input of another node; the
            message names the node.
    """
    if not isinstance(layout, Layout):
        raise LayoutError("a Layout", f"{type(layout).__name__}")
    entry = layout.input.lattice
    value_numbers = count(1)
    values = {("input", 0): (0, entry)}  # (node, output) -> number and lattice of the output's value
    ways: dict[int, tuple[int, ...]] = {0: ()}  # minus the outputs of nodes on the way to each value
    keys: dict[str, tuple[str, Local, Apply]] = {}
    steps: list[Step] = []
    latents: list[LatentLevel] = []
    for name, node, source, output in layout.walk():
        value, lattice = values[source, output]
        way = ways[value]
        if isinstance(node, Latent):
            latents.append(LatentLevel(name, value, lattice))
            continue
        outputs: tuple[tuple[int, Lattice], ...] = ((value, lattice),)
        with within(f"node {name!r}"):
            operations = node.lower(lattice)
        for operation in operations:
            outputs = tuple((next(value_numbers), out) for out in operation.outputs)
            key = _module_key(keys, name, cast(Local, node), operation) if isinstance(operation, Apply) else ""
            steps.append(Step(name, 0, operation, value, tuple(target for target, _ in outputs), key))
            value, lattice = outputs[0]
        for index, output_value in enumerate(outputs):
            values[name, index], ways[output_value[0]] = output_value, (*way, -index)
    latents.sort(key=lambda latent: (-latent.lattice.sites, ways[latent.value]))  # whatever the order of declaration
    return Plan(entry, _with_levels(steps, latents), tuple(latents), layout.context)


def _with_levels(steps: Sequence[Step], latents: Sequence[LatentLevel]) -> tuple[Step, ...]:
    """Set the level of each step: that of the first latents that leave after it, the finest if several do."""
    leaving = {latent.value: level for level, latent in enumerate(latents)}
    levels = dict(leaving)
    for step in reversed(steps):
        next_ones = [leaving[target] for target in step.targets if target in leaving]
        levels[step.source] = min(next_ones or [levels[target] for target in step.targets])
    return tuple(replace(step, level=levels[step.source]) for step in steps)


def _module_key(keys: dict[str, tuple[str, Local, Apply]], name: str, node: Local, operation: Apply) -> str:
    """The key of a node's module: its `share`, else the key of an earlier node with the same bijector, else its name.

    `keys` has for each key so far the name, the node and the operation that used it first; a new key is added. A node
    that cannot use the module of the first node with its key is refused.
    """
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
