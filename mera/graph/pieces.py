"""Transforming events in pieces that fit in the caches of a processor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mera._utils.torch_private import is_recording

Events = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""From events (n, *event_shape) and their contexts to the transformed events and the log-det (n,) of each."""

VALUES = 2**18
"""The approximate number of values in a piece. Networks compute ten times as many values from them, which fit in the
caches of most processors. Larger pieces are limited by memory bandwidth, smaller ones by the number of operations."""


def in_pieces(run: Events, events: Tensor, contexts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Transform events piece by piece on the CPU without gradients, otherwise in one call.

    Args:
        run: transforms events.
        events: the events (n, *event_shape).
        contexts: the contexts (n, *context_shape), or None.
    """
    if torch.is_grad_enabled() or is_recording() or torch.compiler.is_compiling():  # first: a recording has no sizes
        return run(events, contexts)
    if events.device.type != "cpu" or events.numel() <= 2 * VALUES:
        return run(events, contexts)
    rows = -(-len(events) // -(-events.numel() // VALUES))  # equal pieces: a small last one would cost a call
    pieces = events.split(rows)
    piece_contexts = [None] * len(pieces) if contexts is None else contexts.split(rows)
    results = [run(piece, context) for piece, context in zip(pieces, piece_contexts, strict=True)]
    for piece, result in zip(pieces, results, strict=True):
        shapes = [getattr(part, "shape", None) for part in result] if isinstance(result, tuple) else None
        if shapes != [piece.shape, piece.shape[:1]]:
            return run(events, contexts)  # the caller checks the result and raises the error
    changed, log_dets = zip(*results, strict=True)
    return torch.cat(changed), torch.cat(log_dets)
