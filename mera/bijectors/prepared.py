"""What networks compute from their weights alone: for each pass, or once as long as the weights do not change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["fixed_weights", "prepared"]

_kept: dict[Any, tuple[Sequence[nn.Module], list[Any]]] | None = None
"""What was prepared, and the networks that it was prepared of: they must live as long as their identities are keys."""


@contextmanager
def fixed_weights() -> Iterator[None]:
    """Within it no weight changes, so that passes without gradients prepare theirs once: many batches, Markov chains.

    That is for the networks of conditioner "paper" and "authors", whose weights are normalised; for small batches it
    is a good part of the time. Prepared weights are held, for each size of batch anew, until the end.

    >>> import torch, mera
    >>> flow, x = mera.build("rgflow", L=8, conditioner="paper"), torch.randn(2, 3, 8, 8)
    >>> with torch.no_grad(), mera.fixed_weights():
    ...     energies = [-flow.log_prob(x) for _ in range(10)]
    """
    global _kept
    outer, _kept = _kept, {} if _kept is None else _kept
    try:
        yield
    finally:
        _kept = outer


def prepared(networks: Sequence[nn.Module], rows: int) -> Iterable[Any]:
    """What to call in the place of each network, one after the other, with all that does not depend on its input.

    See `mera.bijectors.conditioners`; a network that does not offer that stands for itself.
    """
    if _kept is None or torch.is_grad_enabled():
        return _prepare(networks, rows)
    key = rows, *map(id, networks)
    if key not in _kept:
        _kept[key] = networks, list(_prepare(networks, rows))
    return _kept[key][1]


def _prepare(networks: Sequence[nn.Module], rows: int) -> Iterator[Any]:
    """Neighbours of one kind and of equal sizes are prepared together."""
    group: list[Any] = []
    for network, following in zip(networks, [*networks[1:], None], strict=True):
        group.append(network)
        if following is None or _kind(following) != _kind(network):
            prepare = getattr(type(network), "prepare", None)
            yield from group if prepare is None else prepare(group, rows)
            group = []


def _kind(network: nn.Module) -> tuple[type, Any]:
    return type(network), getattr(network, "sizes", None)
