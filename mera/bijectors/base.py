"""The interface of bijectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.checks import check_shape
from mera._utils.errors import InputError


def log_det_dtype(x: Tensor) -> torch.dtype:
    """The dtype of log-dets: at least single precision, because they are sums over many variables."""
    return x.dtype if x.dtype in (torch.float32, torch.float64) else torch.promote_types(x.dtype, torch.float32)


def zero_log_det(x: Tensor) -> Tensor:
    """The log-det (B,) of the identity on events (B, ...)."""
    return x.new_zeros(x.shape[0], dtype=log_det_dtype(x))


def total(log_dets: Sequence[Tensor]) -> Tensor:
    """The sum of one log-det or more, (B,) each."""
    return reduce(torch.add, log_dets)


class Bijector(nn.Module, ABC):
    r"""An invertible map between events whose Jacobian determinant is known.

    Direction: `forward` maps data to latents, `inverse` maps latents to data. Each method returns the value and
    :math:`\ln |\det J|` of its own direction, in nats: if f(x) = (y, a) and f.inverse(y) = (x, b), then a = -b.

    Shapes: a value is (B, *event_shape), a log-det is (B,). The first axis holds independent events, such as images, or
    all patches of all images. The output for an event must not depend on other events, as a batch may be split.

    A map must not change its argument in place, which may be a view of the user's data. Events that a user may have
    passed are checked by `check_events`, at the beginning of both methods.

    Context: `forward`, `inverse` and `initialize` take a context (B, *context_shape) as a second argument. A bijector
    whose `context_shape` is None is never called with a context, so a subclass may leave the argument out.

    Args:
        event_shape: shape (C, *sites) of one event; None for a map of events of any shape.
        context_shape: shape of the context of one event: (K,), or (K, *sites) for a context at each site; None for a
            map that takes no context.

    Attributes:
        of_angles: True for a map of angles in [-pi, pi) to such angles, False for a map of real numbers, and None for a
            map that acts as its parts do, such as a chain.
        per_site: whether the map acts on each site by itself.
        passive: the number of channels, counted from the first, that the map reads but does not change.
        circular: whether the window of `receptive_kernel` continues at the opposite border of the event.
    """

    of_angles: bool | None = False
    per_site = False
    passive = 0
    circular = False

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
    def radius(self) -> tuple[int, ...]:
        """For each dimension, the number of sites to each side that an output site depends on."""
        return tuple(width // 2 for width in self.receptive_kernel or ())

    @property
    def fits_any_lattice(self) -> bool:
        """Return whether events may have other edges than `event_shape`."""
        return self.event_shape is None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether events may have a shape (C, *sites); if the map `fits_any_lattice`, sites may differ."""
        if self.event_shape is None or shape == self.event_shape:
            return True
        return (len(shape), shape[:1]) == (len(self.event_shape), self.event_shape[:1]) and self.fits_any_lattice

    def check_events(self, x: object) -> None:
        """Refuse events (B, *shape) of a shape that does not fit, which an index or a broadcast might accept."""
        if not isinstance(x, Tensor) or not self.fits(x.shape[1:]):
            got = str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__
            expected = f"events (B, {', '.join(map(str, self.event_shape or ('...',)))})"
            raise InputError(expected, got, where=type(self).__name__)

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
        """Map latents to data: the inverse of `forward`, with the log-det of this direction."""

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set the parameters that start from a first batch of data, and return the transformed batch.

        By default only the batch is transformed. Initialisation is never called implicitly. The arguments are those of
        `forward`.
        """
        return self(x, *context_arguments(self, context))[0]


def checked_result(result: Any, x: Tensor, source: str) -> tuple[Tensor, Tensor]:
    """Return the result of a method for events x (B, ...) if it is events and a log-det (B,), and refuse it otherwise.

    The message names the `source`, the method or its bijector.
    """
    values = result if isinstance(result, tuple) else (result,)
    parts = [tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__ for value in values]
    if not isinstance(result, tuple) or parts != [tuple(x.shape), tuple(x.shape[:1])]:
        expected = f"events {tuple(x.shape)} and one log-det for each from {source}"
        raise InputError(expected, " and ".join(map(str, parts)))
    return result


def context_arguments(bijector: Bijector, context: Tensor | None) -> tuple[Tensor | None, ...]:
    """The arguments that follow the event in a call of a bijector: (context,), or () if it takes no context."""
    return () if bijector.context_shape is None else (context,)
