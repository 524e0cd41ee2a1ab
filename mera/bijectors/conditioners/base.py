"""What couplings ask of the networks that condition them, and how several are made ready for a pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Conditioner", "ConditionerFactory", "Parametrize", "changing_weights", "fixed_weights", "prepared"]

Shape = tuple[int, ...]
Parametrize = Callable[[Tensor], Tensor]
"""From one half of an event, (B, *in_shape), to the parameters of the other's transform, (B, n_params, *out_shape)."""
ConditionerFactory = Callable[[Shape, Shape, int], nn.Module]
"""Called with in_shape, out_shape and n_params; returns a `Conditioner`, or any module that is a `Parametrize`."""


class Conditioner(nn.Module):
    """A network that reads one half of an event and parametrises the transform of the other.

    Its forward maps (B, *in_shape) to (B, n_params, *out_shape). What it may say of itself beyond that stands here;
    a module of another class is taken to say nothing.
    """

    radius: int | None = None
    """How many sites to each side an output depends on, for a convolution; None: it reads all of the half."""
    circular: bool = False
    """Whether these go on at the opposite border."""
    shared_between_halves: bool = False
    """Whether one network serves both halves of an event; `prepare` then yields a pair for it."""
    sizes: Hashable = None
    """Networks of one class and of equal sizes are prepared together."""

    @staticmethod
    def prepare(networks: Sequence[Any], rows: int) -> Iterator[Any]:
        """For each network, what is called in its place in one pass over a batch of `rows`: a `Parametrize`.

        All that does not depend on the input can be computed here, for several networks at once. If one network
        `shared_between_halves`, a pair: what reads the first half, and what reads the second.
        """
        yield from networks


_kept: ContextVar[dict[Any, tuple[Sequence[nn.Module], list[Any]]] | None] = ContextVar("_kept", default=None)
"""What was prepared, and the networks that it was prepared of: they must live as long as their identities are keys."""


@contextmanager
def fixed_weights() -> Iterator[None]:
    """Promise that no weight changes inside this block, so that each network is prepared once, not for every pass.

    It serves passes that need no gradient of the weights: many batches, Markov chains, gradients of the data with
    frozen weights. It matters for the networks of conditioner "paper" and "authors", whose weights are normalised;
    with small batches that is a good part of the time. What is prepared is held until the end, for each size of batch
    anew. The promise holds for this thread.

    >>> import torch, mera
    >>> flow, x = mera.build("rgflow", L=8, conditioner="paper"), torch.randn(2, 3, 8, 8)
    >>> with torch.no_grad(), mera.fixed_weights():
    ...     energies = [-flow.log_prob(x) for _ in range(10)]
    """
    outer = _kept.get()
    token = _kept.set({} if outer is None else outer)
    try:
        yield
    finally:
        _kept.reset(token)


@contextmanager
def changing_weights() -> Iterator[None]:
    """Within it the promise of `fixed_weights` does not hold, for what computes gradients with gradients turned off."""
    token = _kept.set(None)
    try:
        yield
    finally:
        _kept.reset(token)


def prepared(networks: Sequence[nn.Module], rows: int) -> Iterable[Any]:
    """What to call in the place of each network, one after the other; see `Conditioner.prepare`."""
    # compiled code outlives the block
    kept = None if torch.compiler.is_compiling() else _kept.get()
    if kept is None or _learning(networks):
        return _prepare(networks, rows)
    kind = next(((p.dtype, p.device) for network in networks for p in network.parameters()), None)
    key = rows, kind, torch.is_inference_mode_enabled(), *map(id, networks)
    if key not in kept:
        kept[key] = networks, list(_prepare(networks, rows))
    return kept[key][1]


def _learning(networks: Sequence[nn.Module]) -> bool:
    """Whether somebody may ask for the gradient of a weight."""
    return torch.is_grad_enabled() and any(
        parameter.requires_grad for network in networks for parameter in network.parameters()
    )


def _prepare(networks: Sequence[nn.Module], rows: int) -> Iterator[Any]:
    """Neighbours of one kind and of equal sizes are prepared together."""
    group: list[Any] = []
    for network, following in zip(networks, [*networks[1:], None], strict=True):  # torch compiles no itertools.groupby
        group.append(network)
        if following is None or _kind(following) != _kind(network):
            yield from network.prepare(group, rows) if isinstance(network, Conditioner) else group
            group = []


def _kind(network: nn.Module) -> tuple[type, Hashable]:
    return type(network), network.sizes if isinstance(network, Conditioner) else None
