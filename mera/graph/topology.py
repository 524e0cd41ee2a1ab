"""The order of a layout's nodes, and checks that its graph is a tree from one input to latents."""

from __future__ import annotations

import networkx as nx

from mera.graph.lattice import check_key
from mera.graph.layout_error import LayoutError, within
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
        LayoutError: if a node is not a `Node`, the nodes are not a tree that begins at the input, or an output is not
            the input of exactly one node.
    """
    for name, node in graph.nodes(data="node"):
        with within(f"node {name!r}"):
            check_key(name, "name")
            if not isinstance(node, Node):
                raise LayoutError("a mera.graph node in the attribute 'node'", f"{node!r}")
    start, _ = find_input(graph)
    if not nx.is_arborescence(graph):
        for name in graph:
            if (sources := list(graph.predecessors(name))) and (name == start or len(sources) > 1):
                raise LayoutError("a tree that begins at the input", f"the sources {sources}", node=name)
        lost = next(name for name in graph if not nx.has_path(graph, start, name))
        raise LayoutError("a tree that begins at the input", "none that leads to this node", node=lost)
    for name, node in graph.nodes(data="node"):
        outputs = [output for *_, output in graph.out_edges(name, data="output", default=0)]
        if len(outputs) != node.outputs or set(outputs) != set(range(node.outputs)):
            expected = f"one node, a {Latent.__name__} say, for each of the outputs {list(range(node.outputs))}"
            raise LayoutError(expected, f"nodes for {outputs}", node=name)
    position = {name: index for index, name in enumerate(graph)}
    order = nx.lexicographical_topological_sort(graph, key=position.__getitem__)
    return [
        (name, graph.nodes[name]["node"], source, output)
        for name in order
        for source, _, output in graph.in_edges(name, data="output", default=0)
    ]
