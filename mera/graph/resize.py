"""The layout of a flow on another lattice."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mera.graph.lattice import per_dimension
from mera.graph.layout import Layout, Port
from mera.graph.plan import Plan


def period(plan: Plan) -> tuple[int, ...]:
    """For each dimension, the number whose multiples are the edges of lattices that fit the patches of a plan."""
    edges = (1,) * plan.input.dim
    cells = {0: edges}  # for each value, the pixels in a site
    for step in plan.steps:
        cell, operation = cells[step.source], step.operation
        blocks = step.apply.stride if step.module else operation.cell
        edges = tuple(math.lcm(e, c * b) for e, c, b in zip(edges, cell, blocks, strict=True))
        cells |= dict.fromkeys(step.targets, tuple(c * b for c, b in zip(cell, operation.cell, strict=True)))
    return edges


def resize(layout: Layout, shape: Sequence[int], without: str = "") -> Layout:
    """The same nodes, in the same order, on a lattice of another shape.

    The node `without` is left out; its output must have the shape of its input.

    Raises:
        LayoutError: if the shape has another number of dimensions, or a node does not fit; the message names the node.
    """
    lattice, context = layout.input.lattice, layout.context
    edges = per_dimension(shape, lattice.dim, "shape", 1)
    boundary = ["periodic" if periodic else "open" for periodic in lattice.periodic]
    if context is not None and len(context) > 1:
        context = (context[0], *edges)
    other = Layout(edges, lattice.channels, boundary, context)
    ports: dict[str, tuple[Port, ...]] = {"input": (other.input,)}
    for name, node, source, output in layout.walk():
        port = ports[source][output]
        ports[name] = (port,) if name == without else other.add(node, port, name)
    return other
