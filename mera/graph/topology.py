"""The order of a layout's nodes, and checks that its graph is a tree from one input to latents."""

from __future__ import annotations

from collections import Counter

import networkx as nx

from mera._utils.checks import is_integer
from mera.graph.errors import LayoutError, within
from mera.graph.lattice import check_key
from mera.graph.nodes import Input, Latent, Node


def find_input(graph: nx.DiGraph) -> tuple[str, Input]:
    """The name and the node of a layout's input; a LayoutError unless there is exactly one."""
    inputs = [(name, node) for name, node in graph.nodes(data="node") if isinstance(node, Input)]
    if len(inputs) != 1:
        raise LayoutError("one input", f"{[name for name, _ in inputs]}")
    return inputs[0]


def walk(graph: nx.DiGraph) -> list[tuple[str, Node, str, int]]:
    """Check the graph of a layout, and list its nodes in an order in which they can run.

    Returns:
        For each node except the input: its name, the node, the name of its source node, and the index of the source's
        output. A node comes after its source, and otherwise in the order of declaration.

    Raises:
        LayoutError: if a node is not a `Node` or does not have exactly one input, an output is not the input of exactly
            one node, or the nodes form a cycle.
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
    """Raise a LayoutError for an invalid name, or a node of the graph whose attribute is not a `Node`."""
    for name, node in graph.nodes(data="node"):
        with within(f"node {name!r}"):
            check_key(name, "name")
        if not isinstance(node, Node):
            raise LayoutError("a mera.graph node in the attribute 'node'", f"{node!r}", node=name)


def _check_edges(graph: nx.DiGraph, start: str) -> None:
    """Raise a LayoutError for a node that does not have exactly one source, or a source of the layout's input."""
    for name in graph:
        sources = list(graph.predecessors(name))
        if name == start and sources:
            raise LayoutError("nothing before the input", f"{sources}", node=name)
        if name != start and len(sources) != 1:
            raise LayoutError("one source", f"{sources or 'none, so that the node has no input'}", node=name)


def _check_cycle(graph: nx.DiGraph) -> None:
    """Raise a LayoutError if nodes form a cycle."""
    if not nx.is_directed_acyclic_graph(graph):
        names = [source for source, _ in nx.find_cycle(graph)]
        raise LayoutError("no cycle", f"{' -> '.join([*names, names[0]])}", node=names[0])


def _check_outputs(graph: nx.DiGraph) -> None:
    """Raise a LayoutError for an output that does not exist, or is not the input of exactly one node."""
    for name, node in graph.nodes(data="node"):
        edges = graph.out_edges(name, data="output", default=0)
        for _, target, output in edges:
            if not is_integer(output):
                raise LayoutError(f"the number of an output of {name!r}", f"{output!r}", node=target)
        counts = Counter(output for _, _, output in edges)
        for output, times in counts.items():
            if output not in range(node.outputs):
                raise LayoutError(f"one of its {node.outputs} outputs", f"output {output!r}", node=name)
            if times > 1:
                raise LayoutError(f"output {output} as the input of one node", f"{times} nodes", node=name)
        for output in range(node.outputs):
            if output not in counts:
                raise LayoutError(f"a node that takes output {output}, a {Latent.__name__} say", "none", node=name)
