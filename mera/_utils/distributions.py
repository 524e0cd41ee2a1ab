"""What a transform of torch.distributions holds, and copies of it that are whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributions import Transform

from mera._utils.torch_private import INVERSE_TRANSFORM

__all__ = ["contents", "put", "rebuilt"]


class Inverse(Transform):
    """The inverse of a transform. torch's own forgets what it is the inverse of when it is copied."""

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
        """That of the transform, with the other sign."""
        return -self.base.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> Any:
        """The shape before the transform."""
        return self.base.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """The shape behind the transform."""
        return self.base.forward_shape(shape)


def put(owner: Any, key: Any, item: Any) -> None:
    """Put another item in the place of one that `contents` found."""
    if isinstance(owner, Transform):
        setattr(owner, key, item)
    else:
        owner[key] = item


def rebuilt(value: Any) -> Any:
    """A transform like this one, with the same parameters and modules, copies of plain tensors, and no cache.

    Inverses within become such as can be copied again.
    """
    if isinstance(value, INVERSE_TRANSFORM):
        return Inverse(rebuilt(value.inv))
    if isinstance(value, Transform):
        copied = object.__new__(type(value))
        state = {key: rebuilt(item) for key, item in vars(value).items() if key not in ("_inv", "_cached_x_y")}
        known = {"_inv": None, "_cache_size": 0, "_cached_x_y": (None, None)}
        copied.__dict__.update(state | {key: item for key, item in known.items() if key in vars(value)})
        return copied
    if isinstance(value, (list, tuple)):
        return type(value)(rebuilt(item) for item in value)
    if isinstance(value, dict):
        return {key: rebuilt(item) for key, item in value.items()}
    return value.clone() if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) else value


def contents(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(owner, key, item) for all that a transform, or a container in it, holds and is neither of them itself."""
    held = vars(value) if isinstance(value, Transform) else value
    pairs = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, (list, tuple)) else ()
    for key, item in list(pairs):
        if isinstance(item, (Transform, dict, list, tuple)):
            yield from contents(item)
        else:
            yield value, key, item
