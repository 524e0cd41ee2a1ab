"""Bijectors from other libraries as bijectors of a node: torch.distributions, zuko, nflows, FrEIA, normflows.

None of them is imported here: an object says itself, by the classes that it descends from, whose it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from mera._utils.distributions import items_within, map_tensors, replace_item
from mera._utils.torch_private import INVERSE_TRANSFORM
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.compose import Invert

__all__ = ["adapt"]

Shape = tuple[int, ...]


def adapt(
    obj: Any,
    event_shape: Shape | None = None,
    context_shape: Shape | None = None,
    *,
    flatten: bool = False,
    inverted: bool = False,
) -> Bijector:
    r"""Make a bijector of an object from another library; its parameters become those of the bijector.

    What takes data to latents is what the library's own flows use for that: the inverse of a `torch.distributions`
    transform, which goes from its base to the data, and of a normflows flow; the forward direction of a zuko, nflows or
    FrEIA transform.

    Args:
        obj: a `torch.distributions.Transform`; a zuko transform, lazy transform or flow (of which the transform is
            taken); an nflows `Transform`; a FrEIA `InvertibleModule` or `GraphINN`; a normflows `Flow`. A mera bijector
            is returned as it is.
        event_shape: the shape of one event; None for whatever fits.
        context_shape: the shape of a context, for what takes one.
        flatten: the object takes vectors, and gets the variables of an event as one.
        inverted: exchange the two directions.

    Raises:
        ValueError: if the object is of no such kind, is no bijection, or takes no context where one is to reach it.

    >>> import torch, mera
    >>> from torch.distributions.transforms import AffineTransform
    >>> bijector = mera.bijectors.adapt(AffineTransform(3.0, 2.0))
    >>> z, log_det = bijector(torch.tensor([[5.0, 3.0]]))  # data = 3 + 2 z
    >>> z, round(log_det.item(), 3)
    (tensor([[1., 0.]]), -1.386)
    """
    if event_shape is not None and not isinstance(event_shape, Sequence):
        raise ValueError(f"Expected an event shape (C, *sites), or None; got {event_shape!r}")
    if isinstance(obj, Bijector):
        return Invert(obj) if inverted else obj
    if isinstance(obj, INVERSE_TRANSFORM):
        return adapt(obj.inv, event_shape, context_shape, flatten=flatten, inverted=not inverted)
    if "zuko" in _libraries(obj) and isinstance(getattr(obj, "transform", None), nn.Module):
        obj = obj.transform  # a flow: its transform without its base
    for library, name, adapter in ADAPTERS:
        if library in _libraries(obj) and name in {kind.__name__ for kind in type(obj).__mro__}:
            adapted = adapter(obj, event_shape, context_shape, flatten)
            return Invert(adapted) if inverted else adapted
    raise ValueError(
        "Expected a transform of torch.distributions, zuko, nflows, FrEIA or normflows, or a mera bijector; "
        f"got {type(obj).__module__}.{type(obj).__qualname__}"
    )


class _Adapted(Bijector):
    """Shapes and log-dets as mera has them, around an object that knows both directions."""

    def __init__(self, obj: Any, event_shape: Shape | None, context_shape: Shape | None, flatten: bool) -> None:
        super().__init__(event_shape, context_shape)
        self.object, self.flatten = obj, flatten

    @abstractmethod
    def _there(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        """Data to latents, and the log-det in whatever shape."""

    @abstractmethod
    def _back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        """Latents to data, and the log-det in whatever shape."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latents; see `Bijector`."""
        return self._shaped(self._there, x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents to data; see `Bijector`."""
        return self._shaped(self._back, y, context)

    def _shaped(
        self, call: Callable[[Tensor, Tensor | None], tuple[Tensor, Any]], x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        value, log_det = call(x.flatten(1) if self.flatten else x, context)
        single = log_det_dtype(x)
        log_det = torch.as_tensor(log_det, dtype=single, device=x.device)
        if log_det.ndim > 1:
            log_det = log_det.flatten(1).sum(1)
        return value.reshape(x.shape) if self.flatten else value, log_det.expand(x.shape[0])


class _OfTorch(_Adapted):
    """T of torch.distributions, which takes latents to data. Tensors that it holds are the bijector's buffers."""

    def __init__(self, obj: Any, event_shape: Shape | None, context_shape: Shape | None, flatten: bool) -> None:
        if context_shape is not None and isinstance(obj, Transform):
            raise ValueError(f"Expected no context for a transform that takes none; got context shape {context_shape}")
        if getattr(obj, "bijective", True) is False:
            raise ValueError(f"Expected a transform that is a bijection; got {obj!r}")
        copied = map_tensors(obj, lambda t: t if isinstance(t, nn.Parameter) else t.clone())
        super().__init__(copied, event_shape, context_shape, flatten)
        held = list(items_within(self.object))
        self.parameters_of_object = nn.ParameterList(v for _, _, v in held if isinstance(v, nn.Parameter))
        self.modules_of_object = nn.ModuleList(v for _, _, v in held if isinstance(v, nn.Module))
        found = [one for one in held if isinstance(one[2], Tensor) and not isinstance(one[2], nn.Parameter)]
        self._constants = [(owner, key) for owner, key, _ in found]
        for number, (_, _, constant) in enumerate(found):
            self.register_buffer(f"constant{number}", constant)

    def _there(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        z = self.object.inv(x)
        return z, -self.object.log_abs_det_jacobian(z, x)

    def _back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        x = self.object(y)
        return x, self.object.log_abs_det_jacobian(y, x)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _OfTorch:
        super()._apply(fn, recurse)
        for number, (owner, key) in enumerate(self._constants):
            replace_item(owner, key, getattr(self, f"constant{number}"))
        return self


class _OfZuko(_OfTorch):
    """f of zuko, which takes data to latents; a lazy one is made for each context."""

    def _there(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return _call_and_ladj(self._made(context), x)

    def _back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return _call_and_ladj(self._made(context).inv, y)

    def _made(self, context: Tensor | None) -> Any:
        return self.object(context) if isinstance(self.object, nn.Module) else self.object


def _call_and_ladj(transform: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and log-det of a transform, at once where zuko offers that."""
    if hasattr(transform, "call_and_ladj"):
        return transform.call_and_ladj(x)
    y = transform(x)
    return y, transform.log_abs_det_jacobian(x, y)


class _OfNflows(_Adapted):
    """A transform of nflows, which takes data to latents."""

    def _there(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return self.object(x, context)

    def _back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return self.object.inverse(y, context)


class _OfFreia(_Adapted):
    """A module or a graph of FrEIA, which takes data to latents."""

    def _there(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return self._called(x, context, False)

    def _back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return self._called(y, context, True)

    def _called(self, x: Tensor, context: Tensor | None, rev: bool) -> tuple[Tensor, Any]:
        conditions = {} if context is None else {"c": [context]}
        out, log_det = self.object([x], rev=rev, jac=True, **conditions)
        outputs = (out,) if isinstance(out, Tensor) else tuple(out)
        if len(outputs) != 1:
            raise ValueError(f"Expected a FrEIA module of one input and one output; got {len(outputs)} outputs")
        return outputs[0], log_det


class _OfNormflows(_Adapted):
    """A flow of normflows, which takes latents to data."""

    def _there(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return self.object.inverse(x) if context is None else self.object.inverse(x, context)

    def _back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Any]:
        return self.object(y) if context is None else self.object(y, context)


ADAPTERS: list[tuple[str, str, type[_Adapted]]] = [
    ("zuko", "LazyTransform", _OfZuko),
    ("zuko", "Transform", _OfZuko),
    ("nflows", "Transform", _OfNflows),
    ("FrEIA", "InvertibleModule", _OfFreia),
    ("normflows", "Flow", _OfNormflows),
    ("torch", "Transform", _OfTorch),
]
"""Library, its class of transforms, how these are adapted; torch last, for zuko's transforms are torch's too."""


def _libraries(obj: Any) -> set[str]:
    """The packages in which the classes of an object are defined."""
    return {kind.__module__.partition(".")[0] for kind in type(obj).__mro__}
