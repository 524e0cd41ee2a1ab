"""What the models of whole lattices share: a field bijector with the kernel that it reads."""

from __future__ import annotations

from typing import cast

from mera.bijectors import Bijector
from mera.bijectors.registry import Named
from mera.graph import Layout, LayoutError, Port
from mera.graph.plan import context_of

__all__ = ["add_field"]


def add_field(layout: Layout, x: Port, bijector: Named, name: str, passive: int = 0) -> Port:
    """Add a bijector of the whole lattice, with the kernel that its convolutions add up to."""
    shape = x.lattice.event_shape
    try:  # made once more than needed, to ask it: only the bijector knows how far it reads
        made: Bijector = bijector(shape, context_of(layout.context, shape))
    except ValueError as error:
        raise LayoutError.from_error(error, node=name) from error
    kernel = cast(tuple, made.receptive_kernel)
    return layout.local(x, bijector, kernel=kernel, stride=1, name=name, passive=passive)
