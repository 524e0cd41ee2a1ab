"""The shape of a layout's graph: a tree that starts at one input and ends in latents."""

from __future__ import annotations

from collections import Counter

import networkx as nx

from mera._utils.checks import is_integer
from mera.graph.lattice import LayoutError, check_key
from mera.graph.nodes import Input, Latent, Node

__all__ = ["find_input", "walk"]


def find_input(graph: nx.DiGraph) -> tuple[str, Input]:
    """The name and the node of the one input.

    Raises:
        LayoutError: if there is none, or more than one.
    """
    inputs = [(name, node) for name, node in graph.nodes(data="node") if isinstance(node, Input)]
    if len(inputs) != 1:
        raise LayoutError(f"Expected one input; got {[name for name, _ in inputs]}")
    return inputs[0]


def walk(graph: nx.DiGraph) -> list[tuple[str, Node, str, int]]:
    """(name, node, source, output) of every node but the input, sources first, else as declared.

    Raises:
        LayoutError: if something is no node, a node has no input or several, an output is taken twice or by nobody,
            or the nodes form a cycle.
    """
    _check_nodes(graph)
    start, _ = find_input(graph)
    _check_edges(graph, start)
    _check_cycle(graph)
    _check_outputs(graph)
    declared = {name: index for index, name in enumerate(graph)}
    order = nx.lexicographical_topological_sort(graph, key=declared.__getitem__)
    return [
        (name, graph.nodes[name]["node"], source, output)
        for name in order
        for source, _, output in graph.in_edges(name, data="output", default=0)
    ]


def _check_nodes(graph: nx.DiGraph) -> None:
    for name, node in graph.nodes(data="node"):
        try:
            check_key(name, "a name")
        except LayoutError as error:
            raise error.of(name) from None
        if not isinstance(node, Node):
            raise LayoutError(f"node {name!r}: Expected a mera.graph node in the attribute 'node'; got {node!r}")


def _check_edges(graph: nx.DiGraph, start: str) -> None:
    for name in graph:
        sources = list(graph.predecessors(name))
        if name == start and sources:
            raise LayoutError(f"node {name!r}: Expected nothing before the input; got {sources}")
        if name != start and len(sources) != 1:
            got = sources or "none, so that nobody produces what it takes"
            raise LayoutError(f"node {name!r}: Expected one source; got {got}")


def _check_cycle(graph: nx.DiGraph) -> None:
    if not nx.is_directed_acyclic_graph(graph):
        names = [source for source, _ in nx.find_cycle(graph)]
        raise LayoutError(f"node {names[0]!r}: Expected no cycle; got {' -> '.join([*names, names[0]])}")


def _check_outputs(graph: nx.DiGraph) -> None:
    for name, node in graph.nodes(data="node"):
        for _, taker, output in graph.out_edges(name, data="output", default=0):
            if not is_integer(output):
                raise LayoutError(f"node {taker!r}: Expected the number of an output of {name!r}; got {output!r}")
        taken = Counter(output for _, _, output in graph.out_edges(name, data="output", default=0))
        for output, times in taken.items():
            if output not in range(node.outputs):
                raise LayoutError(f"node {name!r}: Expected one of its {node.outputs} outputs; got output {output!r}")
            if times > 1:
                raise LayoutError(f"node {name!r}: Expected output {output} to be taken once; got {times} takers")
        for output in range(node.outputs):
            if output not in taken:
                raise LayoutError(
                    f"node {name!r}: Expected a node that takes output {output}, a {Latent.__name__} say; got none"
                )
