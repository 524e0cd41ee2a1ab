"""The interface of conditioners, the networks that compute the parameters of a coupling's transform."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError

Shape = tuple[int, ...]

ConditionerFactory = Callable[[Shape, Shape, int], nn.Module]
"""Called with in_shape, out_shape and n_params; returns a `Conditioner`, or any module with the same forward."""


class Conditioner(nn.Module):
    """A network that reads one half of an event and returns the parameters of the transform of the other half.

    Its forward maps (B, *in_shape) to (B, n_params, *out_shape). If the network is `shared_between_halves`, its forward
    takes the index of the half that it reads, 0 or 1, as a second argument.

    Any other module with such a forward may serve as a conditioner; the defaults of the attributes below then apply.
    """

    radius: int | None = None
    """The number of sites to each side that an output depends on, for convolutions; None if it depends on all sites."""
    circular: bool = False
    """Whether convolutions wrap around at the borders of the lattice."""
    shared_between_halves: bool = False
    """Whether both halves of a coupling share one network, instead of having one each."""


def metadata(network: nn.Module) -> Conditioner | type[Conditioner]:
    """The conditioner, or the defaults for a plain module."""
    if not isinstance(network, nn.Module):
        raise InputError("a torch.nn.Module from the factory of conditioners", type(network).__name__)
    return network if isinstance(network, Conditioner) else Conditioner


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
    """
    if context_shape is None:
        return x
    expected = context_shape[:1] + (x.shape[2:] if x.ndim > 2 and len(context_shape) > 1 else context_shape[1:])
    if context is None or context.shape[1:] != expected:
        shape = None if context is None else tuple(context.shape)
        raise InputError(f"a context (B, {', '.join(map(str, expected))})", str(shape))
    if x.ndim == 2:
        return torch.cat([x, context.flatten(1).to(x.dtype)], dim=1)
    if context.ndim == 2:
        context = context.reshape(*context.shape, *(1 for _ in x.shape[2:]))
    return torch.cat([x, context.to(x.dtype).expand(-1, -1, *x.shape[2:])], dim=1)
