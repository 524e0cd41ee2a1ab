"""A hierarchical flow as a `networkx.DiGraph` of nodes, and a builder that refuses mistakes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import networkx as nx

from mera._utils.checks import is_integer
from mera.graph.errors import LayoutError
from mera.graph.lattice import Lattice, check_key
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze
from mera.graph.topology import find_input

__all__ = ["Layout", "Port"]


@dataclass(frozen=True)
class Port:
    """An output of a node, to be handed to the node that takes it.

    Args:
        node: the name of the node.
        output: the index of the output.
        lattice: the lattice of the variables there.
        layout: the layout of the node.
    """

    node: str
    output: int
    lattice: Lattice
    layout: Layout = field(compare=False, repr=False)

    @property
    def channels(self) -> int:
        """How many channels each site has."""
        return self.lattice.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """The edge lengths of the lattice."""
        return self.lattice.shape


class Layout:
    r"""A hierarchical flow, declared from the data (below) to the latents (above).

    The graph is a tree of nodes: each takes one output of an earlier node, and every output is taken exactly once
    (by a `latent` at the end). Nodes carry their settings in the attribute `node`, edges the attribute `output`,
    the index of the output they take.

    Args:
        shape: edge lengths of the lattice, in 1, 2 or 3 dimensions.
        channels: variables at each site.
        boundary: "periodic" or "open", one word for all dimensions or one for each.
        context: the shape of what the flow is conditional on: K or (K,) for K numbers of each image, (K, *shape) for K
            numbers of each pixel; None if the flow is not conditional.

    Raises:
        LayoutError: if the arguments do not describe a lattice and a context of it.

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
        if isinstance(context_shape, Sequence):
            context_shape = tuple(context_shape)
        self.graph.add_node("input", node=Input(lattice, context_shape))
        self.input = Port("input", 0, lattice, self)

    @classmethod
    def from_graph(cls, graph: nx.DiGraph) -> Layout:
        """A layout from a graph made elsewhere, with the attributes that the class names.

        Raises:
            LayoutError: if it holds something that is no node, or not one input. `compile` checks the rest.
        """
        if not isinstance(graph, nx.DiGraph):
            raise LayoutError("a networkx.DiGraph", f"{type(graph).__name__}")
        layout = cls.__new__(cls)
        layout.graph = nx.DiGraph(graph)
        name, node = find_input(layout.graph)
        layout.input = Port(name, 0, node.lattice, layout)
        return layout

    def add(self, node: Node, source: Port, name: str | None = None) -> tuple[Port, ...]:
        """Add any node behind `source`; the methods below are shorthands of this one.

        Raises:
            LayoutError: if the node cannot stand there, with its name.
        """
        if not isinstance(node, Node) or isinstance(node, Input):
            raise LayoutError("a node of a kind of mera.graph, other than another input", f"{node!r}")
        name = self._free_name(node) if name is None else name
        try:
            self._check_name(name)
            self._check_source(source)
            actions = node.lower(source.lattice)
        except LayoutError as error:
            raise LayoutError.from_error(error, node=name) from None
        self.graph.add_node(name, node=node)
        self.graph.add_edge(source.node, name, output=source.output)
        lattices = actions[-1].outputs if actions else (source.lattice,) * node.outputs  # a latent has none
        return tuple(Port(name, index, lattice, self) for index, lattice in enumerate(lattices))

    def local(
        self,
        source: Port,
        bijector: Any,
        kernel: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        offset: int | tuple[int, ...] = 0,
        share: str | None = None,
        name: str | None = None,
        passive: int = 0,
    ) -> Port:
        """Add a local bijector (see `mera.graph.nodes.Local` for the arguments)."""
        try:
            node = Local(bijector, kernel, stride, offset, share, passive)
        except LayoutError as error:
            raise LayoutError.from_error(error, node=name) from None
        (port,) = self.add(node, source, name)
        return port

    def decimate(self, source: Port, stride: int | tuple[int, ...] = 2, name: str | None = None) -> tuple[Port, Port]:
        """Keep the sites at `stride`: the coarse lattice, and the sites that are sent out."""
        coarse, fine = self.add(Decimate(stride), source, name)
        return coarse, fine

    def squeeze(self, source: Port, stride: int | tuple[int, ...] = 2, name: str | None = None) -> Port:
        """Turn the sites of each `stride` cell into channels."""
        (port,) = self.add(Squeeze(stride), source, name)
        return port

    def split(self, source: Port, keep: int, name: str | None = None) -> tuple[Port, Port]:
        """Cut the channels: the first `keep`, and the rest."""
        kept, rest = self.add(Split(keep), source, name)
        return kept, rest

    def latent(self, source: Port, name: str | None = None) -> None:
        """Let `source` leave the flow as the latents of one level."""
        self.add(Latent(), source, name)

    @property
    def context(self) -> tuple[int, ...] | None:
        """The shape of the context, None if there is none."""
        return find_input(self.graph)[1].context

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes by name, in the order in which they were declared."""
        return dict(self.graph.nodes(data="node"))

    def __repr__(self) -> str:
        return f"Layout({self.input.lattice}, {self.graph.number_of_nodes()} nodes)"

    def _free_name(self, node: Node) -> str:
        kind = type(node).__name__.lower()
        return next(name for i in count() if (name := f"{kind}{i}") not in self.graph)

    def _check_name(self, name: str) -> None:
        check_key(name, "name")
        if name in self.graph:
            raise LayoutError("a name that is not taken", "that of an earlier node")

    def _check_source(self, source: Port) -> None:
        if not isinstance(source, Port):
            raise LayoutError("the output of an earlier node", f"{source!r}")
        if source.layout is not self:
            raise LayoutError("the output of a node of this layout", f"{source.node!r} of another")
        for _, taker, output in self.graph.out_edges(source.node, data="output"):
            if output == source.output:
                raise LayoutError(
                    "an output that is not taken yet", f"output {output} of {source.node!r}, which {taker!r} takes"
                )


def _lattice(shape: Sequence[int], channels: int, boundary: str | Sequence[str]) -> Lattice:
    """The input lattice, from what a user writes."""
    if not isinstance(shape, Sequence):
        raise LayoutError("a lattice shape of 1 to 3 edge lengths", f"{shape!r}", field="shape")
    boundaries = (boundary,) * len(shape) if isinstance(boundary, str) or not boundary else boundary
    if not isinstance(boundaries, Sequence) or not all(b in ("periodic", "open") for b in boundaries):
        raise LayoutError(
            "boundary 'periodic' or 'open', for all dimensions or for each", f"{boundary!r}", field="boundary"
        )
    channels, *edges = (int(n) if is_integer(n) else n for n in (channels, *shape))  # numpy's integers too
    return Lattice(channels, tuple(edges), tuple(b == "periodic" for b in boundaries))
