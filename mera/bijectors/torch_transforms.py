"""Copies of torch's transforms in which tensors are replaced, by tensors on another device say.

`copy.deepcopy` cannot make such copies: a copied inverse of a torch transform no longer knows that transform.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.distributions import Transform

from mera._utils.torch_private import INVERSE_TRANSFORM


class Inverse(Transform):
    """The inverse of a torch transform; unlike torch's own class, a copy of it still knows the transform.

    Args:
        base: the transform.
    """

    bijective = True

    def __init__(self, base: Transform) -> None:
        super().__init__()
        self.base = base

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """The codomain of the transform."""
        return self.base.codomain

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The domain of the transform."""
        return self.base.domain

    def _call(self, x: Tensor) -> Tensor:
        """Apply the inverse of the transform."""
        return self.base.inv(x)

    def _inverse(self, y: Tensor) -> Tensor:
        """Apply the transform."""
        return self.base(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Minus the log-det of the transform at y."""
        return -self.base.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> Any:
        """The shape of the transform's inputs, from the shape of its outputs."""
        return self.base.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """The shape of the transform's outputs, from the shape of its inputs."""
        return self.base.forward_shape(shape)


def map_tensors(value: Any, fn: Callable[[Tensor], Tensor], copies: dict[int, Any] | None = None) -> Any:
    """A copy of a transform, with an empty cache and with `fn` applied to every tensor within.

    Transforms, lists, tuples and dicts within are copied too; any other object, a module say, is shared.

    Args:
        value: the transform, or an object that it holds.
        fn: from a tensor to the tensor that takes its place.
        copies: the copies made so far, by the identity of the original, so that an object that is used twice within
            is copied once.
    """
    copies = {} if copies is None else copies
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Tensor):
        copied: Any = fn(value)
    elif isinstance(value, INVERSE_TRANSFORM):
        copied = Inverse(map_tensors(value.inv, fn, copies))
    elif isinstance(value, Transform):
        copied = copies[id(value)] = object.__new__(type(value))
        state = {key: item for key, item in vars(value).items() if not isinstance(item, weakref.ref)}
        fresh = {"_inv": None, "_cache_size": 0, "_cached_x_y": (None, None)}
        state |= {key: item for key, item in fresh.items() if key in vars(value)}
        copied.__dict__.update({key: map_tensors(item, fn, copies) for key, item in state.items()})
    elif isinstance(value, (list, tuple)):
        copied = type(value)(map_tensors(item, fn, copies) for item in value)
    elif isinstance(value, dict):
        copied = {key: map_tensors(item, fn, copies) for key, item in value.items()}
    else:
        return value
    copies[id(value)] = copied
    return copied


def items_within(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """All objects in a transform that are neither transforms nor containers, with the places where they are.

    Args:
        value: a transform, or a list, tuple or dict in one; transforms and containers within are searched too.

    Returns:
        For each object: the transform or container that holds it, its attribute name, key or index there, and the
        object.
    """
    held = vars(value) if isinstance(value, Transform) else value
    pairs = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, (list, tuple)) else ()
    for key, item in list(pairs):
        if isinstance(item, (Transform, dict, list, tuple)):
            yield from items_within(item)
        else:
            yield value, key, item


def replace_item(owner: Any, key: Any, item: Any) -> None:
    """Replace an object that `items_within` found.

    Args:
        owner: the transform or container that holds the object.
        key: the attribute name, key or index of the object there.
        item: the object that takes its place.
    """
    if isinstance(owner, Transform):
        setattr(owner, key, item)
    else:
        owner[key] = item
