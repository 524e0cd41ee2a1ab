"""The graph of a layout must be a tree that starts at one input and ends in latents: checks, and the order of nodes."""

from __future__ import annotations

from collections import Counter

import networkx as nx

from mera._utils.checks import is_integer
from mera.graph.errors import LayoutError
from mera.graph.lattice import check_key
from mera.graph.nodes import Input, Latent, Node


def find_input(graph: nx.DiGraph) -> tuple[str, Input]:
    """The input of a layout, its name and its node.

    Args:
        graph: the graph of the layout.

    Raises:
        LayoutError: if there is no input, or more than one.
    """
    inputs = [(name, node) for name, node in graph.nodes(data="node") if isinstance(node, Input)]
    if len(inputs) != 1:
        raise LayoutError("one input", f"{[name for name, _ in inputs]}")
    return inputs[0]


def walk(graph: nx.DiGraph) -> list[tuple[str, Node, str, int]]:
    """Check the graph of a layout, and list its nodes in an order in which they can run.

    Args:
        graph: the graph of the layout.

    Returns:
        For each node but the input: its name, the node, the name of the node that is its input, and the number of that
        node's output. A node comes behind its input; apart from this the order is that of declaration.

    Raises:
        LayoutError: if a node of the graph holds no `Node`, a node has no input or several, an output is the input of
            no node or of several, or the nodes form a cycle.
    """
    _check_nodes(graph)
    start, _ = find_input(graph)
    _check_edges(graph, start)
    _check_cycle(graph)
    _check_outputs(graph)
    position = {name: index for index, name in enumerate(graph)}
    order = nx.lexicographical_topological_sort(graph, key=position.__getitem__)
    return [
        (name, graph.nodes[name]["node"], source, output)
        for name in order
        for source, _, output in graph.in_edges(name, data="output", default=0)
    ]


def _check_nodes(graph: nx.DiGraph) -> None:
    """Refuse names that cannot be names of nodes, and nodes of the graph without a `Node`."""
    for name, node in graph.nodes(data="node"):
        try:
            check_key(name, "name")
        except LayoutError as error:
            raise LayoutError.from_error(error, node=name) from None
        if not isinstance(node, Node):
            raise LayoutError("a mera.graph node in the attribute 'node'", f"{node!r}", node=name)


def _check_edges(graph: nx.DiGraph, start: str) -> None:
    """Refuse a node without an input or with several, and a node before the input of the layout."""
    for name in graph:
        sources = list(graph.predecessors(name))
        if name == start and sources:
            raise LayoutError("nothing before the input", f"{sources}", node=name)
        if name != start and len(sources) != 1:
            got = sources or "none, so that the node has no input"
            raise LayoutError("one source", f"{got}", node=name)


def _check_cycle(graph: nx.DiGraph) -> None:
    """Refuse nodes that form a cycle."""
    if not nx.is_directed_acyclic_graph(graph):
        names = [source for source, _ in nx.find_cycle(graph)]
        raise LayoutError("no cycle", f"{' -> '.join([*names, names[0]])}", node=names[0])


def _check_outputs(graph: nx.DiGraph) -> None:
    """Refuse outputs that do not exist, and outputs that are the input of no node or of several."""
    for name, node in graph.nodes(data="node"):
        for _, taker, output in graph.out_edges(name, data="output", default=0):
            if not is_integer(output):
                raise LayoutError(f"the number of an output of {name!r}", f"{output!r}", node=taker)
        taken = Counter(output for _, _, output in graph.out_edges(name, data="output", default=0))
        for output, times in taken.items():
            if output not in range(node.outputs):
                raise LayoutError(f"one of its {node.outputs} outputs", f"output {output!r}", node=name)
            if times > 1:
                raise LayoutError(f"output {output} as the input of one node", f"{times} nodes", node=name)
        for output in range(node.outputs):
            if output not in taken:
                raise LayoutError(f"a node that takes output {output}, a {Latent.__name__} say", "none", node=name)
