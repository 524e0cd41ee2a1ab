"""Copies of torch's transforms with other tensors, for example on another device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.distributions import Transform

from mera._utils.torch_private import INVERSE_TRANSFORM


def map_tensors(value: Any, fn: Callable[[Tensor], Tensor], copies: dict[int, Any] | None = None) -> Any:
    """Copy a transform, with an empty cache and with every tensor in it replaced by `fn(tensor)`.

    Transforms, lists, tuples and dicts in it are copied too; any other object, such as a module, is shared. `copies`
    holds the copies made so far, by the `id` of the original, so that an object that is used twice is copied once.
    """
    copies = {} if copies is None else copies
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Tensor):
        copied: Any = fn(value)
    elif isinstance(value, INVERSE_TRANSFORM):
        copied = map_tensors(value.inv, fn, copies).inv
    elif isinstance(value, Transform):
        copied = copies[id(value)] = object.__new__(type(value))
        fresh = {"_inv": None, "_cache_size": 0, "_cached_x_y": (None, None)}
        copied.__dict__.update(
            {key: map_tensors(fresh.get(key, item), fn, copies) for key, item in vars(value).items()}
        )
    elif isinstance(value, (list, tuple)):
        copied = type(value)(map_tensors(item, fn, copies) for item in value)
    elif isinstance(value, dict):
        copied = {key: map_tensors(item, fn, copies) for key, item in value.items()}
    else:
        return value
    copies[id(value)] = copied
    return copied


def items_within(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Iterate over all objects in a transform or container, recursively, as (owner, key, object).

    The owner is the transform, list, tuple or dict that holds the object under the attribute name, index or key.
    Transforms and containers are searched, and are not themselves among the objects.
    """
    value = value.inv if isinstance(value, INVERSE_TRANSFORM) else value
    items = {**vars(value), "_inv": None} if isinstance(value, Transform) else value
    pairs = items.items() if isinstance(items, dict) else enumerate(items) if isinstance(items, (list, tuple)) else ()
    for key, item in list(pairs):
        if isinstance(item, (Transform, dict, list, tuple)):
            yield from items_within(item)
        else:
            yield value, key, item


def replace_item(owner: Any, key: Any, item: Any) -> None:
    """Replace an object that `items_within` returned with this owner and key by another object."""
    if isinstance(owner, Transform):
        setattr(owner, key, item)
    else:
        owner[key] = item
