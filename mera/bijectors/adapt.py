"""Adapters for bijectors of other libraries: zuko, nflows, FrEIA, normflows.

These libraries are not imported: an object's library is recognised by the modules of its base classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype

Shape = tuple[int, ...]
Run = Callable[[Any, Tensor, Tensor | None, bool], tuple[Tensor, Any]]


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
    for library, name, run in ADAPTERS:
        if library in _libraries(obj) and name in {kind.__name__ for kind in type(obj).__mro__}:
            return Adapted(obj, run, event_shape, context_shape, flatten)
    raise InputError(
        "a module of zuko, nflows, FrEIA or normflows, or a mera bijector (zuko.lazy.UnconditionalTransform makes a "
        "module of a transform of zuko or torch.distributions)",
        f"{type(obj).__module__}.{type(obj).__qualname__}",
    )


class Adapted(Bijector):
    """A bijector around an object of another library; converts shapes and log-dets to mera's conventions.

    `run` is a function of the object, x, the context and whether to map latents to data. It returns the value and the
    log-det, of any shape that the library returns.
    """

    def __init__(
        self, obj: Any, run: Run, event_shape: Shape | None, context_shape: Shape | None, flatten: bool
    ) -> None:
        super().__init__(event_shape, context_shape)
        self.object, self.run, self.flatten = obj, run, flatten

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latents with the object."""
        return self._call(x, context, False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data with the object."""
        return self._call(y, context, True)

    def _call(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        self.check_events(x)
        try:
            value, log_det = self.run(self.object, x.flatten(1) if self.flatten else x, context, inverse)
        except RuntimeError as error:
            if not self.flatten and x.ndim > 2 and type(error) is RuntimeError:  # subclasses have other causes
                error.add_note("adapt(..., flatten=True) passes events as vectors")
            raise
        log_det = torch.as_tensor(log_det, dtype=log_det_dtype(x), device=x.device)
        if log_det.ndim > 1:
            log_det = log_det.flatten(1).sum(1)
        return value.reshape(x.shape) if self.flatten else value, log_det.expand(x.shape[0])


def _zuko(lazy: Any, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
    """A lazy transform makes a transform for each context; it maps data to latents."""
    transform = lazy(context)
    return (transform.inv if inverse else transform).call_and_ladj(x)  # a method that zuko gives all transforms


def _nflows(transform: Any, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
    """A transform maps data to latents."""
    return (transform.inverse if inverse else transform)(x, context)


def _freia(module: Any, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
    """A module or a graph maps data to latents."""
    out, log_det = module([x], rev=inverse, jac=True, **({} if context is None else {"c": [context]}))
    (value,) = (out,) if isinstance(out, Tensor) else out
    return value, log_det


def _normflows(flow: Any, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Any]:
    """A flow maps latents to data."""
    return (flow if inverse else flow.inverse)(x, *(() if context is None else (context,)))


ADAPTERS: list[tuple[str, str, Run]] = [
    ("zuko", "LazyTransform", _zuko),
    ("nflows", "Transform", _nflows),
    ("FrEIA", "InvertibleModule", _freia),
    ("normflows", "Flow", _normflows),
]
"""(library, name of its base class, function that runs an object in both directions)."""


def _libraries(obj: Any) -> set[str]:
    """The packages in which the class of an object and its base classes are defined."""
    return {kind.__module__.partition(".")[0] for kind in type(obj).__mro__}
