"""The interface of bijectors."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera._utils.torch_private import is_recording


def log_det_dtype(x: Tensor) -> torch.dtype:
    """The dtype of log-dets: at least single precision, because they are sums over many variables."""
    return torch.promote_types(x.dtype, torch.float32)


def zero_log_det(x: Tensor) -> Tensor:
    """The log-det (B,) of the identity on events (B, ...)."""
    return x.new_zeros(x.shape[0], dtype=log_det_dtype(x))


def as_rows(x: Tensor) -> Tensor:
    """Events (B, ...) as vectors (B, n), without an operation if they are vectors: an operation costs time."""
    return x if x.ndim == 2 else x.flatten(1)


def in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in a dtype, without an operation if it has the dtype."""
    return x if x.dtype == dtype else x.to(dtype)


def constant_by_site(bijector: Bijector, x: Tensor, inverse: bool, log_det: Tensor | float) -> tuple[Tensor, Tensor]:
    """The result of `Bijector.by_site` if the log-det of a site in the forward direction is the same at all sites."""
    values, _ = bijector.inverse(x) if inverse else bijector(x)
    by_site = x.new_zeros(x.shape[0], *x.shape[2:], dtype=log_det_dtype(x))
    return values, by_site - log_det if inverse else by_site + log_det


def total(log_dets: Sequence[Tensor]) -> Tensor:
    """The sum of one log-det or more, (B,) each."""
    return reduce(torch.add, log_dets)


class Bijector(nn.Module, ABC):
    r"""An invertible map between events whose Jacobian determinant is known.

    Direction: `forward` maps data to latents, `inverse` maps latents to data. Each method returns the value and
    :math:`\ln |\det J|` of its own direction, in nats: if f(x) = (y, a) and f.inverse(y) = (x, b), then a = -b.

    Shapes: a value is (B, *event_shape), a log-det is (B,). The first axis holds independent events, such as images, or
    all patches of all images. The output for an event must not depend on other events, as a batch may be split.

    A map must not change its argument in place, which may be a view of the user's data.

    Context: `forward`, `inverse` and `initialize` take a context (B, *context_shape) as a second argument. A bijector
    whose `context_shape` is None is never called with a context, so a subclass may leave the argument out.

    Args:
        event_shape: shape (C, *sites) of one event; None for a map of events of any shape.
        context_shape: shape of the context of one event: (K,), or (K, *sites) for a context at each site; None for a
            map that takes no context.

    Attributes:
        of_angles: True for a map of angles in [-pi, pi) to such angles, False for a map of real numbers, and None for a
            map that may act on either, such as a permutation, or that acts as its parts do, such as a chain.
        per_site: whether the map acts on each site by itself.
        passive: the number of channels, counted from the first, that the map reads but does not change.
        circular: whether the window of `receptive_kernel` continues at the opposite border of the event.
    """

    of_angles: bool | None = False
    per_site = False
    passive = 0
    circular = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Let both methods refuse events of another shape, which an index or a broadcast might accept."""
        super().__init_subclass__(**options)
        for name in ("forward", "inverse"):
            if name in cls.__dict__:
                setattr(cls, name, _with_checked_event(cls.__dict__[name]))

    def __init__(
        self, event_shape: tuple[int, ...] | None = None, context_shape: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.event_shape = None if event_shape is None else check_shape(event_shape, "event_shape")
        self.context_shape = None if context_shape is None else check_shape(context_shape, "context_shape")

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """Size, in each dimension, of the window of input sites around an output site; None if it is all sites."""
        return (1,) * (len(self.event_shape) - 1) if self.per_site and self.event_shape else None

    @property
    def layers(self) -> list[Bijector]:
        """The bijectors, in order, whose composition the map is; by default the map itself."""
        return [self]

    @property
    def is_local(self) -> bool:
        """Whether a map of a lattice can be evaluated on a part of it.

        A layer that can has `by_site`, and an `on_box` of its own if it has tensors of the shape of the lattice.
        """
        inner = [module for module in self.children() if isinstance(module, Bijector)]
        has_window = type(self).by_site is not Bijector.by_site and self.receptive_kernel is not None
        return has_window and all(bijector.is_local for bijector in inner)

    def on_box(self, start: Sequence[int], shape: Sequence[int], cut: Sequence[bool] = ()) -> Bijector:
        """The same layer, with the same parameters, on a box of the lattice; only for a layer that `is_local`.

        Values near an end that is cut mean nothing, within half the `receptive_kernel`.

        Args:
            start: the coordinates of the first site, which may lie beyond a periodic border.
            shape: the edges of the box.
            cut: whether the lattice goes on beyond each end of the box, in the order of `torch.nn.functional.pad`;
                empty for a whole lattice. A box as wide as a periodic lattice is not cut in that dimension.
        """

        def at(module: Any) -> Any:
            if isinstance(module, nn.ModuleList):
                return nn.ModuleList(map(at, module))
            return module.on_box(start, shape, cut) if hasattr(module, "on_box") else module

        part = copy.copy(self)
        part._buffers = dict(self._buffers)
        part._modules = {name: at(inner) for name, inner in self._modules.items()}
        part.event_shape = (*(self.event_shape or ())[:1], *shape)
        if self.context_shape is not None and len(self.context_shape) > 1:
            part.context_shape = (self.context_shape[0], *shape)
        return part

    def by_site(self, x: Tensor, context: Tensor | None = None, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Map events as `forward`, or as `inverse`, with the log-det of each site; only for a layer that `is_local`.

        Args:
            x: events, (B, *event_shape).
            context: context of each event, (B, *context_shape); None for a map that takes none.
            inverse: whether to map latents to data.

        Returns:
            The values, (B, *event_shape); and a log-det for each site, (B, *sites), whose sum is the log-det.
        """
        raise NotImplementedError(type(self).__name__)

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latents.

        Args:
            x: data, (B, *event_shape).
            context: context of each event, (B, *context_shape); None for a map that takes none.

        Returns:
            The latents, (B, *event_shape), and the log-det (B,).
        """

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data.

        Args:
            y: latents, (B, *event_shape).
            context: context of each event, (B, *context_shape); None for a map that takes none.

        Returns:
            The data, (B, *event_shape), and the log-det (B,) of this direction.
        """

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set the parameters that start from a first batch of data, and return the transformed batch.

        By default only the batch is transformed. Initialisation is never called implicitly.

        Args:
            x: data, (B, *event_shape).
            context: context of each event, (B, *context_shape); None for a map that takes none.

        Returns:
            The latents, (B, *event_shape).
        """
        return self(x, *context_arguments(self, context))[0]


class StartsFromData(Bijector):
    """A bijector whose parameters start from the first batch of data; the buffer `initialized` says that they have."""

    initialized: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.register_buffer("initialized", torch.tensor(False))

    @abstractmethod
    def start(self, x: Tensor) -> bool:
        """Set the parameters from a batch (B, *event_shape), and return whether that was possible."""

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set the parameters from a batch, unless they were set before, and return the transformed batch."""
        if not self.initialized and self.start(x):
            self.initialized.fill_(True)
        return self(x)[0]


def _with_checked_event(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a bijector that first refuses an event of another shape than the bijector's."""
    name = [*inspect.signature(method).parameters][1]

    @wraps(method)
    def run(self: Bijector, *args: Any, **by_name: Any) -> Any:
        shape = self.event_shape
        if shape is not None and (args or name in by_name) and not is_recording():
            x = args[0] if args else by_name[name]
            if not isinstance(x, Tensor) or x.shape[1:] != shape:
                got = str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__
                raise InputError(f"events (B, {', '.join(map(str, shape))})", got, where=type(self).__name__)
        return method(self, *args, **by_name)

    return run


def checked_result(result: Any, x: Tensor, source: str = "the bijector", where: str = "") -> tuple[Tensor, Tensor]:
    """What a method returned for events x (B, ...): events and the log-det (B,); refuses anything else.

    Args:
        result: what the method returned.
        x: the events.
        source: the method or its bijector, for the message.
        where: the beginning of the message.
    """
    if not isinstance(result, tuple) or len(result) != 2 or not all(isinstance(value, Tensor) for value in result):
        got = type(result).__name__
        if isinstance(result, tuple):
            got = " and ".join(type(v).__name__ for v in result) if len(result) == 2 else f"{len(result)} values"
        raise InputError(f"events and their log-det from {source}", got, where=where)
    shapes = [value.shape for value in result]  # recorded code must not branch on them; an earlier call checked them
    if not is_recording() and shapes != [x.shape, x.shape[:1]]:
        expected = f"events {tuple(x.shape)} and one log-det for each from {source}"
        raise InputError(expected, f"{tuple(shapes[0])} and {tuple(shapes[1])}", where=where)
    return result


def context_arguments(bijector: Bijector, context: Tensor | None) -> tuple[Tensor | None, ...]:
    """The arguments that follow the event in a call of a bijector: (context,), or () if it takes no context."""
    return () if bijector.context_shape is None else (context,)
