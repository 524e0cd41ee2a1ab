"""Adapters for bijectors of other libraries: zuko, nflows, FrEIA, normflows.

These libraries are not imported: an object's library is recognised by the modules of its base classes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, context_arguments, log_det_dtype

Shape = tuple[int, ...]


def adapt(
    obj: Any,
    event_shape: Shape | None = None,
    context_shape: Shape | None = None,
    *,
    flatten: bool = False,
) -> Bijector:
    """Make a bijector from a module of another library; the module's parameters become parameters of the bijector.

    The bijector maps data to latents in the same direction as the flows of the module's library: with the inverse of a
    normflows flow, which maps from the base to the data, and with the forward direction of a zuko, nflows or FrEIA
    transform. `Invert` exchanges the two directions. A transform of `torch.distributions` is not a module, but
    `zuko.lazy.UnconditionalTransform` makes one of it, whose tensors are learnt.

    Args:
        obj: a zuko lazy transform, or flow, whose transform is used; an nflows `Transform`; a FrEIA `InvertibleModule`
            or `GraphINN`; a normflows `Flow`. A mera bijector is returned as it is.
        event_shape: shape (C, *sites) of one event; None for a map of events of any shape.
        context_shape: shape of the context of one event; None for a module that takes no context.
        flatten: whether to flatten events to vectors for the module, as those of zuko and nflows usually need.

    Raises:
        ValueError: if the object is not a module of one of these libraries.

    >>> import mera, torch, zuko
    >>> from torch.distributions.transforms import AffineTransform
    >>> lazy = zuko.lazy.UnconditionalTransform(AffineTransform, torch.tensor(-1.5), torch.tensor(0.5))
    >>> z, log_det = mera.bijectors.adapt(lazy)(torch.tensor([[5.0, 3.0]]))  # z = (data - 3) / 2
    >>> z.tolist(), round(log_det.item(), 3)
    ([[1.0, 0.0]], -1.386)
    """
    if isinstance(obj, Bijector):
        return obj
    if "zuko" in _libraries(obj) and isinstance(getattr(obj, "transform", None), nn.Module):
        obj = obj.transform  # the transform of a flow, without the base distribution
    for library, name, adapter in ADAPTERS:
        if library in _libraries(obj) and name in {kind.__name__ for kind in type(obj).__mro__}:
            return adapter(obj, event_shape, context_shape, flatten)
    raise InputError(
        "a module of zuko, nflows, FrEIA or normflows, or a mera bijector (zuko.lazy.UnconditionalTransform makes a "
        "module of a transform of zuko or torch.distributions)",
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
        self.check_events(x)
        try:
            value, log_det = self._run(x.flatten(1) if self.flatten else x, context, inverse)
        except RuntimeError as error:
            if not self.flatten and x.ndim > 2 and type(error) is RuntimeError:  # a subclass has a reason of its own
                error.add_note("adapt(..., flatten=True) passes events as vectors")
            raise
        log_det = torch.as_tensor(log_det, dtype=log_det_dtype(x), device=x.device)
        if log_det.ndim > 1:
            log_det = log_det.flatten(1).sum(1)
        return value.reshape(x.shape) if self.flatten else value, log_det.expand(x.shape[0])


class _OfZuko(Adapted):
    """A lazy transform of zuko, which makes a transform for each context; it maps data to latents."""

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
        transform = self.object(context)
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
    ("nflows", "Transform", _OfNflows),
    ("FrEIA", "InvertibleModule", _OfFreia),
    ("normflows", "Flow", _OfNormflows),
]
"""(library, name of its base class, adapter)."""


def _libraries(obj: Any) -> set[str]:
    """The packages in which the class of an object and its base classes are defined."""
    return {kind.__module__.partition(".")[0] for kind in type(obj).__mro__}
