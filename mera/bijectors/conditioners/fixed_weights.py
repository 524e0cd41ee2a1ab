"""Faster functions that couplings call in place of their conditioner networks, and the promise of fixed weights."""

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
"""Evaluators by the `id` of their networks. The networks are stored too: Python reuses the id of a deleted object."""


@contextmanager
def fixed_weights() -> Iterator[None]:
    """Promise that no weight changes inside this block, so that networks are prepared once and not for every pass.

    This makes passes without gradients of the weights faster: many batches, Markov chains, gradients of the data with
    frozen weights. It matters for the conditioners "paper" and "authors", which normalise their weights; with small
    batches the normalisation takes a good part of the time. Prepared weights are kept until the end of the block,
    separately for each batch size. The promise holds for this thread.

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
    """For each network, in the order of calls, a faster function with equal values, or else the network itself.

    Consecutive networks of one shape are prepared together. A network that has hooks or is compiled is called itself.
    Functions are fastest for batches of the size `rows`.
    """
    if is_recording():  # weights are constant in a recording, so values that depend on weights alone are computed once
        with recording_paused():
            return list(_evaluators(networks, int(rows)))
    # compiled code may run after the block has ended
    cache = None if torch.compiler.is_compiling() else _cache.get()
    if cache is None or _needs_weight_gradients(networks):
        return _evaluators(networks, rows)
    kind = next(((p.dtype, p.device) for network in networks for p in network.parameters()), None)
    key = rows, kind, torch.is_inference_mode_enabled(), *map(id, networks)
    if key not in cache:
        cache[key] = networks, list(_evaluators(networks, rows))
    return cache[key][1]


def _needs_weight_gradients(networks: Sequence[nn.Module]) -> bool:
    return torch.is_grad_enabled() and any(p.requires_grad for network in networks for p in network.parameters())


def _evaluators(networks: Sequence[nn.Module], rows: int) -> Iterator[Evaluator]:
    keys = [fusion_key(network) if is_called_plainly(network) else None for network in networks]
    start = 0
    while start < len(networks):  # torch.compile does not support itertools.groupby
        stop = start + 1
        while stop < len(networks) and keys[stop] == keys[start]:
            stop += 1
        group = networks[start:stop]
        yield from group if keys[start] is None else fuse(group, rows)
        start = stop
