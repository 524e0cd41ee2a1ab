"""Events in pieces that the caches of a processor hold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mera._utils.torch_private import is_recording
from mera.bijectors.conditioners.fixed_weights import fixed_weights

Events = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""From events (n, *event_shape) and their contexts to the transformed events and the log-det (n,) of each."""

VALUES = 2**18
"""About the numbers in the events of a piece. What networks compute from them is ten times as much, which the caches of
most processors hold. With more, a pass runs through memory; with fewer, it takes too many operations."""


def in_pieces(run: Events, events: Tensor, contexts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Transform events, a piece after the other, where no gradients are recorded and the processor has caches to gain.

    Args:
        run: transforms events.
        events: the events (n, *event_shape).
        contexts: the contexts (n, *context_shape), or None.

    Returns:
        The transformed events, and the log-det (n,) of each.
    """
    if torch.is_grad_enabled() or events.device.type != "cpu" or events.numel() <= 2 * VALUES:
        return run(events, contexts)
    if is_recording() or torch.compiler.is_compiling():
        return run(events, contexts)
    rows = max(1, VALUES * len(events) // events.numel())
    pieces = events.split(rows)
    of_pieces = [None] * len(pieces) if contexts is None else contexts.split(rows)
    with fixed_weights():
        results = [run(piece, context) for piece, context in zip(pieces, of_pieces, strict=True)]
    for piece, result in zip(pieces, results, strict=True):
        shapes = [getattr(part, "shape", None) for part in result] if isinstance(result, tuple) else None
        if shapes != [piece.shape, piece.shape[:1]]:
            return run(events, contexts)  # the caller says what is wrong with it
    changed, log_dets = zip(*results, strict=True)
    return torch.cat(changed), torch.cat(log_dets)
