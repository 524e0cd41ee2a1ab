"""Copies of torch's distributions and transforms, with other tensors in them.

`copy.deepcopy` does not serve: torch's inverse transforms forget what they are the inverse of.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Transform

from mera._utils.torch_private import INVERSE_TRANSFORM

__all__ = ["items_within", "map_tensors", "replace_item"]


class Inverse(Transform):
    """The inverse of a transform, which keeps that transform when it is copied."""

    bijective = True

    def __init__(self, base: Transform) -> None:
        super().__init__()
        self.base = base

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """What the transform maps to."""
        return self.base.codomain

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """What the transform maps from."""
        return self.base.domain

    def _call(self, x: Tensor) -> Tensor:
        return self.base.inv(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-det of the transform at y, with the other sign."""
        return -self.base.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> Any:
        """The shape before the transform."""
        return self.base.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """The shape behind the transform."""
        return self.base.forward_shape(shape)


def map_tensors(value: Any, fn: Callable[[Tensor], Tensor], copies: dict[int, Any] | None = None) -> Any:
    """A copy of a distribution or a transform, with `fn` applied to every tensor within.

    Distributions, transforms, lists, tuples and dicts within are copied too; anything else, a module say, is shared.
    A copied distribution does not validate its arguments, so that a value without density is no error; a copied
    transform has an empty cache.

    Args:
        value: what to copy.
        fn: from a tensor to the tensor that takes its place.
        copies: what was copied before, by identity, so that what is shared within stays shared.
    """
    copies = {} if copies is None else copies
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Tensor):
        copied: Any = fn(value)
    elif isinstance(value, INVERSE_TRANSFORM):
        copied = Inverse(map_tensors(value.inv, fn, copies))
    elif isinstance(value, (Distribution, Transform)):
        copied = copies[id(value)] = object.__new__(type(value))
        state = {key: item for key, item in vars(value).items() if not isinstance(item, weakref.ref)}
        if isinstance(value, Transform):
            fresh = {"_inv": None, "_cache_size": 0, "_cached_x_y": (None, None)}
            state |= {key: item for key, item in fresh.items() if key in vars(value)}
        copied.__dict__.update({key: map_tensors(item, fn, copies) for key, item in state.items()})
        if isinstance(value, Distribution):
            copied.__dict__["_validate_args"] = False
    elif isinstance(value, (list, tuple)):
        copied = type(value)(map_tensors(item, fn, copies) for item in value)
    elif isinstance(value, dict):
        copied = {key: map_tensors(item, fn, copies) for key, item in value.items()}
    else:
        return value
    copies[id(value)] = copied
    return copied


def items_within(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(owner, key, item) of all that a transform, or a container in it, holds and is neither of them itself."""
    held = vars(value) if isinstance(value, Transform) else value
    pairs = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, (list, tuple)) else ()
    for key, item in list(pairs):
        if isinstance(item, (Transform, dict, list, tuple)):
            yield from items_within(item)
        else:
            yield value, key, item


def replace_item(owner: Any, key: Any, item: Any) -> None:
    """Put another item in the place of one that `items_within` found."""
    if isinstance(owner, Transform):
        setattr(owner, key, item)
    else:
        owner[key] = item
