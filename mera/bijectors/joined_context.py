"""Contexts appended to the input of a network: one vector for the whole event, or one vector for each site."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.torch_private import is_recording

Shape = tuple[int, ...]


def joined_shape(shape: Shape, context_shape: Shape | None) -> Shape:
    """The shape of the output of `join`, without the batch axis.

    Args:
        shape: shape of the input, (n,) or (C, *sites).
        context_shape: shape of the context, (K,) or (K, *sites); None for no context.

    >>> joined_shape((24,), (10, 4, 4)), joined_shape((3, 8, 8), (10,))
    ((184,), (13, 8, 8))
    """
    if context_shape is None:
        return shape
    extra = math.prod(context_shape) if len(shape) == 1 else context_shape[0]
    return (shape[0] + extra, *shape[1:])


def join(x: Tensor, context: Tensor | None, context_shape: Shape | None) -> Tensor:
    """Append a context to the input of a network: as entries of a vector, or as channels of a lattice.

    Args:
        x: the input, (B, n) or (B, C, *sites).
        context: the context, (B, *context_shape); ignored if `context_shape` is None.
        context_shape: shape of the context, (K,) or (K, *sites); None for no context.

    Raises:
        ValueError: if the context is missing or has another shape.
    """
    if context_shape is None:
        return x
    expected = context_shape[:1] + (x.shape[2:] if x.ndim > 2 and len(context_shape) > 1 else context_shape[1:])
    if context is None or (not is_recording() and context.shape[1:] != expected):
        shape = None if context is None else tuple(context.shape)
        raise InputError(f"a context (B, {', '.join(map(str, expected))})", str(shape))
    if x.ndim == 2:
        return torch.cat([x, context.flatten(1).to(x.dtype)], dim=1)
    if context.ndim == 2:
        context = context.reshape(*context.shape, *(1 for _ in x.shape[2:]))
    return torch.cat([x, context.to(x.dtype).expand(-1, -1, *x.shape[2:])], dim=1)
