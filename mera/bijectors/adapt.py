"""Adapters for bijectors of other libraries: torch.distributions, zuko, nflows, FrEIA, normflows.

Libraries other than torch are not imported: an object's library is recognised by the modules of its base classes.
"""

from __future__ import annotations

import io
import pickle
from abc import abstractmethod
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from mera._utils.errors import InputError
from mera._utils.torch_private import INVERSE_TRANSFORM
from mera.bijectors.base import Bijector, context_arguments, log_det_dtype
from mera.bijectors.compose import Invert

Shape = tuple[int, ...]


def adapt(
    obj: Any,
    event_shape: Shape | None = None,
    context_shape: Shape | None = None,
    *,
    flatten: bool = False,
) -> Bijector:
    r"""Make a bijector from an object of another library; the object's parameters become parameters of the bijector.

    The bijector maps data to latents in the same direction as the flows of the object's library: with the inverse of a
    `torch.distributions` transform or normflows flow, which map from the base to the data, and with the forward
    direction of a zuko, nflows or FrEIA transform. `Invert` exchanges the two directions.

    Args:
        obj: a `torch.distributions.Transform`; a zuko transform, lazy transform, or flow, whose transform is used; an
            nflows `Transform`; a FrEIA `InvertibleModule` or `GraphINN`; a normflows `Flow`. A mera bijector is
            returned as it is.
        event_shape: shape (C, *sites) of one event; None for a map of events of any shape.
        context_shape: shape of the context of one event; None for an object that takes no context.
        flatten: whether to flatten events to vectors for the object.

    Raises:
        ValueError: if the object is not from one of these libraries, is not a bijection, or takes no context although
            there is a `context_shape`.

    >>> import torch, mera
    >>> from torch.distributions.transforms import AffineTransform
    >>> bijector = mera.bijectors.adapt(AffineTransform(3.0, 2.0))
    >>> z, log_det = bijector(torch.tensor([[5.0, 3.0]]))  # data = 3 + 2 z
    >>> z, round(log_det.item(), 3)
    (tensor([[1., 0.]]), -1.386)
    """
    if isinstance(obj, Bijector):
        return obj
    if isinstance(obj, INVERSE_TRANSFORM):
        return Invert(adapt(obj.inv, event_shape, context_shape, flatten=flatten))
    if "zuko" in _libraries(obj) and isinstance(getattr(obj, "transform", None), nn.Module):
        obj = obj.transform  # the transform of a flow, without the base distribution
    for library, name, adapter in ADAPTERS:
        if library in _libraries(obj) and name in {kind.__name__ for kind in type(obj).__mro__}:
            return adapter(obj, event_shape, context_shape, flatten)
    raise InputError(
        "a transform of torch.distributions, zuko, nflows, FrEIA or normflows, or a mera bijector",
        f"{type(obj).__module__}.{type(obj).__qualname__}",
    )


class Adapted(Bijector):
    """A bijector around an object that maps in both directions; converts shapes and log-dets to mera's conventions."""

    def __init__(self, obj: Any, event_shape: Shape | None, context_shape: Shape | None, flatten: bool) -> None:
        super().__init__(event_shape, context_shape)
        self.object, self.flatten = obj, flatten

    @abstractmethod
    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        """Map data to latents, or latents to data; the log-det may have any shape that the library returns."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latents with the object."""
        return self._call(x, context, False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data with the object."""
        return self._call(y, context, True)

    def _call(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        value, log_det = self._run(x.flatten(1) if self.flatten else x, context, inverse)
        log_det = torch.as_tensor(log_det, dtype=log_det_dtype(x), device=x.device)
        if log_det.ndim > 1:
            log_det = log_det.flatten(1).sum(1)
        return value.reshape(x.shape) if self.flatten else value, log_det.expand(x.shape[0])


class _OfTorch(Adapted):
    """A transform of torch.distributions, which maps latents to data. Its tensors become buffers of the bijector."""

    def __init__(self, obj: Any, event_shape: Shape | None, context_shape: Shape | None, flatten: bool) -> None:
        if context_shape is not None and isinstance(obj, Transform):
            raise InputError("no context for a transform that takes none", f"context shape {context_shape}")
        if getattr(obj, "bijective", True) is False:
            raise InputError("a transform that is a bijection", repr(obj))
        super().__init__(obj, event_shape, context_shape, flatten)
        self._pickled, self._parts = _taken_apart(obj)
        self.parameters_of_object = nn.ParameterList(part for part in self._parts if isinstance(part, nn.Parameter))
        self.modules_of_object = nn.ModuleList(part for part in self._parts if isinstance(part, nn.Module))
        for number, part in enumerate(self._parts):
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(f"constant{number}", part.clone())
        self._put_together()

    def _put_together(self) -> None:
        """Make the object anew from the current parameters, modules and buffers."""
        parameters = iter(self.parameters_of_object)
        parts = [getattr(self, f"constant{number}", part) for number, part in enumerate(self._parts)]
        self._parts = [next(parameters) if isinstance(part, nn.Parameter) else part for part in parts]
        reader = pickle.Unpickler(io.BytesIO(self._pickled))
        reader.persistent_load = self._parts.__getitem__  # type: ignore[method-assign]
        self.object = reader.load()

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        transform = self.object if inverse else self.object.inv
        y = transform(x)
        return y, transform.log_abs_det_jacobian(x, y)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _OfTorch:
        super()._apply(fn, recurse)
        self._put_together()
        return self


def _taken_apart(obj: Any) -> tuple[bytes, list[Any]]:
    """A pickled transform without its tensors, modules and functions, and a list of them."""
    parts: list[Any] = []

    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> int | None:
            if not isinstance(value, (Tensor, nn.Module, FunctionType, MethodType)):
                return None
            if not any(part is value for part in parts):
                parts.append(value)
            return next(number for number, part in enumerate(parts) if part is value)

    file = io.BytesIO()
    Writer(file).dump(obj)
    return file.getvalue(), parts


class _OfZuko(_OfTorch):
    """A transform of zuko, which maps data to latents; a lazy transform makes a transform for each context."""

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        transform = self.object(context) if isinstance(self.object, nn.Module) else self.object
        return (transform.inv if inverse else transform).call_and_ladj(x)  # a method that zuko gives all transforms


class _OfNflows(Adapted):
    """A transform of nflows, which maps data to latents."""

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        return (self.object.inverse if inverse else self.object)(x, context)


class _OfFreia(Adapted):
    """A module or a graph of FrEIA, which maps data to latents."""

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        conditions = {} if context is None else {"c": [context]}
        out, log_det = self.object([x], rev=inverse, jac=True, **conditions)
        (value,) = (out,) if isinstance(out, Tensor) else out
        return value, log_det


class _OfNormflows(Adapted):
    """A flow of normflows, which maps latents to data."""

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        return (self.object if inverse else self.object.inverse)(x, *context_arguments(self, context))


ADAPTERS: list[tuple[str, str, type[Adapted]]] = [
    ("zuko", "LazyTransform", _OfZuko),
    ("zuko", "Transform", _OfZuko),
    ("nflows", "Transform", _OfNflows),
    ("FrEIA", "InvertibleModule", _OfFreia),
    ("normflows", "Flow", _OfNormflows),
    ("torch", "Transform", _OfTorch),
]
"""(library, name of its base class, adapter). torch is last, because zuko's transforms are also torch transforms."""


def _libraries(obj: Any) -> set[str]:
    """The packages in which the class of an object and its base classes are defined."""
    return {kind.__module__.partition(".")[0] for kind in type(obj).__mro__}
