"""What a coupling calls in place of its conditioner networks, and the promise that their weights do not change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.torch_private import is_called_plainly, is_recording, recording_paused
from mera.bijectors.conditioners.fused import fuse, fusion_key

Evaluator = Callable[..., Tensor]
"""A conditioner network, or a faster function with the same arguments and values."""

_cache: ContextVar[dict[Any, tuple[Sequence[nn.Module], list[Evaluator]]] | None] = ContextVar("_cache", default=None)
"""Evaluators by the identities of their networks. The networks are held too, as an identity is reused otherwise."""


@contextmanager
def fixed_weights() -> Iterator[None]:
    """Promise that no weight changes inside this block, so that networks are prepared once and not for every pass.

    Passes without gradients of the weights gain from it: many batches, Markov chains, gradients of the data with frozen
    weights. It matters for the conditioners "paper" and "authors", whose weights are normalised; with small batches the
    normalisation takes a good part of the time. Prepared weights are held until the end of the block, for each batch
    size anew. The promise holds for this thread.

    >>> import torch, mera
    >>> flow, x = mera.build("rgflow", L=8, conditioner="paper"), torch.randn(2, 3, 8, 8)
    >>> with torch.no_grad(), mera.fixed_weights():
    ...     energies = [-flow.log_prob(x) for _ in range(10)]
    """
    outer = _cache.get()
    token = _cache.set({} if outer is None else outer)
    try:
        yield
    finally:
        _cache.reset(token)


@contextmanager
def changing_weights() -> Iterator[None]:
    """Suspend the promise of `fixed_weights`, for code that computes gradients while torch's gradients are off."""
    token = _cache.set(None)
    try:
        yield
    finally:
        _cache.reset(token)


def evaluators(networks: Sequence[nn.Module], rows: int) -> Iterable[Evaluator]:
    """For each network, what to call in its place: a faster function if there is one, else the network itself.

    Networks of one shape that follow each other are prepared together. A network that a user watches with a hook, or
    compiled, is called itself.

    Args:
        networks: conditioner networks, in the order in which they are called.
        rows: size of the batch.
    """
    if is_recording():  # a recording serves constant weights: what depends on them alone is computed once
        with recording_paused():
            return list(_evaluators(networks, int(rows)))
    # compiled code outlives the block
    cache = None if torch.compiler.is_compiling() else _cache.get()
    if cache is None or _learns(networks):
        return _evaluators(networks, rows)
    kind = next(((p.dtype, p.device) for network in networks for p in network.parameters()), None)
    key = rows, kind, torch.is_inference_mode_enabled(), *map(id, networks)
    if key not in cache:
        cache[key] = networks, list(_evaluators(networks, rows))
    return cache[key][1]


def _learns(networks: Sequence[nn.Module]) -> bool:
    """Whether the gradient of a weight may be needed."""
    return torch.is_grad_enabled() and any(
        parameter.requires_grad for network in networks for parameter in network.parameters()
    )


def _evaluators(networks: Sequence[nn.Module], rows: int) -> Iterator[Evaluator]:
    keys = [fusion_key(network) if is_called_plainly(network) else None for network in networks]
    start = 0
    while start < len(networks):  # torch compiles no itertools.groupby
        stop = start + 1
        while stop < len(networks) and keys[stop] == keys[start]:
            stop += 1
        group = networks[start:stop]
        yield from group if keys[start] is None else fuse(group, rows)
        start = stop
