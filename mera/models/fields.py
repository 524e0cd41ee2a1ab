"""A function that the models of whole lattices share: it adds a field bijector to a layout."""

from __future__ import annotations

from typing import cast

from mera.bijectors import Bijector
from mera.bijectors.registry import Named
from mera.graph import Layout, LayoutError, Port
from mera.graph.plan import context_of

__all__ = ["add_field"]


def add_field(layout: Layout, x: Port, bijector: Named, name: str, passive: int = 0) -> Port:
    """Add a bijector of the whole lattice to a layout; the kernel of the node is the bijector's `receptive_kernel`.

    Args:
        layout: the layout.
        x: the output of an earlier node that the bijector acts on.
        bijector: a registered bijector whose `receptive_kernel` is not None.
        name: the name of the node.
        passive: how many channels, the first ones, are read but not changed.

    Returns:
        The output of the node.

    Raises:
        LayoutError: if the bijector cannot be made for this lattice; the message names the node.
    """
    shape = x.lattice.event_shape
    try:  # an instance that is thrown away: only the bijector itself knows how far it reads
        instance: Bijector = bijector(shape, context_of(layout.context, shape))
    except ValueError as error:
        raise LayoutError.from_error(error, node=name) from error
    kernel = cast(tuple, instance.receptive_kernel)
    return layout.local(x, bijector, kernel=kernel, stride=1, name=name, passive=passive)
