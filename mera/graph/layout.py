"""Layouts: hierarchical flows as graphs of nodes, declared node by node."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import networkx as nx

from mera._utils.checks import is_integer, is_list
from mera._utils.drawn import Drawn
from mera.graph.lattice import Lattice, per_dimension
from mera.graph.layout_error import LayoutError, within
from mera.graph.modules import check_key
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze


@dataclass(frozen=True)
class Port:
    """An output of a node; pass it to the method that adds the next node.

    Args:
        node: the name of the node.
        output: the index of the output.
        lattice: the lattice of the output.
        layout: the layout of the node.
    """

    node: str
    output: int
    lattice: Lattice
    layout: Layout = field(compare=False, repr=False)

    @property
    def channels(self) -> int:
        """The number of channels of the lattice."""
        return self.lattice.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """The edge lengths of the lattice."""
        return self.lattice.shape


class Layout(Drawn):
    """The declaration of a hierarchical flow, node by node from the data to the latents.

    The nodes form a tree: the input of each node is an output of an earlier node, each output is the input of exactly
    one node, and each branch ends in a `latent` node. Adding a node that cannot be a bijection raises an error.

    The attribute `graph` is a `networkx.DiGraph`. Its nodes have the attribute `node`, a `mera.graph.Node`; its edges
    have the attribute `output`, the index of the output of the node where the edge starts.

    Args:
        shape: the edge lengths of the lattice, in 1, 2 or 3 dimensions.
        channels: the number of variables at each site.
        boundary: "periodic" or "open", one word for all dimensions or one for each.
        context: the shape of the context of a conditional flow: K or (K,) for K numbers per image, (K, *shape) for K
            numbers at each pixel; None if the flow is not conditional.

    Methods that add a node take `source`, the output of an earlier node, and `name`, the name of the new node; if None,
    the kind of the node and a number.

    Raises:
        LayoutError: if the arguments do not describe a lattice, or a context on it; in methods that add a node, if the
            node is not a bijection on its source, the source is in use, or the name is taken.

    Example:
        One step of a binary MERA on 8 sites, whose bijectors only rescale:

        >>> from mera.bijectors import ActNorm
        >>> from mera.graph import Layout, compile
        >>> layout = Layout(shape=(8,), channels=1)
        >>> x = layout.local(layout.input, ActNorm, kernel=4, offset=2, name="disentangler")
        >>> x = layout.local(x, ActNorm, kernel=4, name="decimator")
        >>> coarse, fine = layout.decimate(x)
        >>> coarse.shape, fine.channels
        ((4,), 1)
        >>> layout.latent(fine)
        >>> layout.latent(coarse)
        >>> [str(latent.lattice) for latent in compile(layout).latents]
        ['1 x 4', '1 x 4']
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int = 1,
        boundary: str | Sequence[str] = "periodic",
        context: int | Sequence[int] | None = None,
    ) -> None:
        lattice = _lattice(shape, channels, boundary)
        self.graph = nx.DiGraph()
        context_shape: Any = (context,) if is_integer(context) else context
        if is_list(context_shape):
            context_shape = tuple(context_shape)
        self.graph.add_node("input", node=Input(lattice, context_shape))
        self.input = Port("input", 0, lattice, self)

    def add(self, node: Node, source: Port, name: str | None = None) -> tuple[Port, ...]:
        """Add a node of any kind, and return its outputs; the other methods that add a node are shorthands of it."""
        if not isinstance(node, Node) or isinstance(node, Input):
            raise LayoutError("a node of a kind of mera.graph, other than another input", f"{node!r}")
        kind = type(node).__name__.lower()
        name = next(free for i in count() if (free := f"{kind}{i}") not in self.graph) if name is None else name
        with within(f"node {name!r}"):
            check_key(name, "name")
            if name in self.graph:
                raise LayoutError("a name that is not taken", "that of an earlier node")
            self._check_source(source)
            operations = node.lower(source.lattice)
        self.graph.add_node(name, node=node)
        self.graph.add_edge(source.node, name, output=source.output)
        lattices = operations[-1].outputs if operations else (source.lattice,) * node.outputs  # a latent has none
        return tuple(Port(name, index, lattice, self) for index, lattice in enumerate(lattices))

    def local(
        self,
        source: Port,
        bijector: Any,
        kernel: int | tuple[int, ...] | None = None,
        stride: int | tuple[int, ...] | None = None,
        offset: int | tuple[int, ...] = 0,
        share: str | None = None,
        name: str | None = None,
        passive: int = 0,
        field: bool = False,
    ) -> Port:
        """Add a local bijector, and return its output; the other arguments are those of `mera.graph.Local`."""
        with nullcontext() if name is None else within(f"node {name!r}"):
            node = Local(bijector, kernel, stride, offset, share, passive, field)
        (port,) = self.add(node, source, name)
        return port

    def decimate(self, source: Port, stride: int | tuple[int, ...] = 2, name: str | None = None) -> tuple[Port, Port]:
        """Add a decimation, which keeps one site of each cell.

        Returns the coarse lattice, and the other sites as channels on the coarse lattice. `stride` is the edge of a
        cell, or its edges in each dimension.
        """
        coarse, fine = self.add(Decimate(stride), source, name)
        return coarse, fine

    def squeeze(self, source: Port, stride: int | tuple[int, ...] = 2, name: str | None = None) -> Port:
        """Add a squeeze, which turns the sites of each cell into channels; `stride` is as in `decimate`."""
        (port,) = self.add(Squeeze(stride), source, name)
        return port

    def split(self, source: Port, keep: int, name: str | None = None) -> tuple[Port, Port]:
        """Add a split, which cuts the channels in two; the first `keep` channels go to the first output."""
        kept, rest = self.add(Split(keep), source, name)
        return kept, rest

    def latent(self, source: Port, name: str | None = None) -> None:
        """Let variables leave the flow as the latents of one level, which has the name of the node."""
        self.add(Latent(), source, name)

    @property
    def context(self) -> tuple[int, ...] | None:
        """The shape of the context; None if the flow is not conditional."""
        return self.graph.nodes["input"]["node"].context

    def frozen(self) -> Layout:
        """Return a copy whose graph cannot be changed, and which does not follow later changes of this layout."""
        other = copy.copy(self)
        other.graph = nx.freeze(nx.DiGraph(self.graph))
        other.input = replace(self.input, layout=other)
        return other

    def resized(self, shape: Sequence[int], without: str = "") -> Layout:
        """Return a layout with the same nodes, in the same order, on a lattice of another shape.

        The node `without` is left out; its output must have the shape of its input.

        Raises:
            LayoutError: if the shape has another number of dimensions, or a node does not fit.
        """
        lattice, context = self.input.lattice, self.context
        edges = per_dimension(shape, lattice.dim, "shape", 1)
        boundary = ["periodic" if periodic else "open" for periodic in lattice.periodic]
        if context is not None and len(context) > 1:
            context = (context[0], *edges)
        other = Layout(edges, lattice.channels, boundary, context)
        ports: dict[str, tuple[Port, ...]] = {"input": (other.input,)}
        for name, node, source, output in self.walk():
            port = ports[source][output]
            ports[name] = (port,) if name == without else other.add(node, port, name)
        return other

    def walk(self) -> list[tuple[str, Node, str, int]]:
        """All nodes but the input in the order of declaration, in which they can run.

        Returns:
            The name of each node, the node, the name of its source node, and the index of the source's output.

        Raises:
            LayoutError: if the nodes are not a tree, or an output is not the input of exactly one node.
        """
        if not nx.is_arborescence(self.graph):
            raise LayoutError("a tree of nodes that begins at the input", "another graph")
        for name, node in self.nodes.items():
            outputs = [output for *_, output in self.graph.out_edges(name, data="output")]
            if sorted(outputs) != list(range(node.outputs)):
                expected = f"one node, a Latent say, for each of the outputs {list(range(node.outputs))}"
                raise LayoutError(expected, f"nodes for {outputs}", node=name)
        return [
            (name, node, source, output)
            for name, node in self.nodes.items()
            for source, _, output in self.graph.in_edges(name, data="output")
        ]

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes by name, in the order in which they were declared."""
        return dict(self.graph.nodes(data="node"))

    def __repr__(self) -> str:
        return f"Layout({self.input.lattice}, {self.graph.number_of_nodes()} nodes)"

    def _check_source(self, source: Port) -> None:
        """Raise a LayoutError unless `source` is an output of this layout that is not the input of a node yet."""
        if not isinstance(source, Port):
            raise LayoutError("the output of an earlier node", f"{source!r}")
        if source.layout is not self:
            raise LayoutError("the output of a node of this layout", f"{source.node!r} of another")
        for _, user, output in self.graph.out_edges(source.node, data="output"):
            if output == source.output:
                got = f"output {output} of {source.node!r}, which {user!r} takes"
                raise LayoutError("an output that is not taken yet", got)


def _lattice(shape: Sequence[int], channels: int, boundary: str | Sequence[str]) -> Lattice:
    """The lattice of the data, from the arguments of `Layout`."""
    if not is_list(shape):
        raise LayoutError("a lattice shape of 1 to 3 edge lengths", f"{shape!r}", field="shape")
    boundaries = list(boundary) if is_list(boundary) else [boundary]
    boundaries *= len(shape) if len(boundaries) == 1 and isinstance(boundary, str) else 1
    if not all(word in ("periodic", "open") for word in boundaries):
        expected = "boundary 'periodic' or 'open', for all dimensions or for each"
        raise LayoutError(expected, f"{boundary!r}", field="boundary")
    channels, *edges = (int(n) if is_integer(n) else n for n in (channels, *shape))  # converts integers of numpy
    return Lattice(channels, tuple(edges), tuple(b == "periodic" for b in boundaries))
