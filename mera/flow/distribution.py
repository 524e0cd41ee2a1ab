"""Flows as `torch.distributions`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mera._utils.errors import InputError

if TYPE_CHECKING:
    from mera.flow.density import Density

Size = torch.Size | list[int] | tuple[int, ...]


class FlowDistribution(Distribution):
    r"""A flow as a `torch.distributions.Distribution`: :math:`p(x)`, or :math:`p(x | \text{context})` for contexts.

    The event shape is (C, *shape), for data in the flow's own space. The batch shape is (), or (B,) for B contexts.
    `rsample` is differentiable in the flow's parameters and the contexts; the parameters of the prior are constants.

    Args:
        flow: the flow, whose parameters the distribution shares.
        context: the contexts of the batch; None for a flow without context.
        batch_shape: a larger batch shape, as set by `expand`; None for the batch shape of the contexts.

    >>> import mera, torch
    >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
    >>> p.log_prob(p.sample((5,))).shape, p.event_shape
    (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, flow: Density, context: Tensor | None = None, batch_shape: Size | None = None) -> None:
        flow.context_encoder(context, len(context) if isinstance(context, Tensor) and context.ndim else 1)  # checks it
        self.flow, self.context = flow, context
        own_batch_shape = [] if context is None else [len(context)]
        shape = torch.Size(own_batch_shape if batch_shape is None else batch_shape)
        super().__init__(shape, torch.Size(flow.plan.input.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The interval of the prior for a flow of angles, else all real numbers."""
        angles = constraints.interval(-math.pi, math.pi)
        return constraints.independent(angles if self.flow.flow.of_angles else constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Size, _instance: Distribution | None = None) -> FlowDistribution:
        """Expand the distribution to a larger batch shape, to which the current one broadcasts, else a RuntimeError."""
        larger = torch.Size(batch_shape)
        torch.empty(self.batch_shape).expand(larger)
        return FlowDistribution(self.flow, self.context, larger)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        """Draw samples (*sample_shape, *batch_shape, *event_shape), differentiable in parameters and contexts."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: int | Size = ()) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-densities in one pass instead of two.

        Args:
            sample_shape: the shape of the samples, before the batch shape; or the number of samples.

        Returns:
            The samples (*sample_shape, *batch_shape, *event_shape); and the log-density of each sample,
            (*sample_shape, *batch_shape), in nats.

        >>> import mera
        >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
        >>> x, log_prob = p.rsample_and_log_prob((5,))
        >>> bool((log_prob - p.log_prob(x)).abs().max() < 1e-3)
        True
        """
        shape = self._extended_shape(torch.Size([sample_shape] if isinstance(sample_shape, int) else sample_shape))
        batch = shape[: len(shape) - len(self.event_shape)]
        x, log_prob = self.flow.rsample_and_log_prob(batch.numel(), self._contexts(batch.numel()))
        return x.reshape(shape), log_prob.reshape(batch)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of values.

        Args:
            value: events (*shape, *event_shape) in the flow's own space, where `shape` broadcasts with the batch shape.

        Returns:
            The log-densities, in nats, of the shape to which `shape` and the batch shape broadcast.
        """
        n = len(self.event_shape)
        if not isinstance(value, Tensor) or value.shape[max(0, value.ndim - n) :] != self.event_shape:
            got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"values (..., {tuple(self.event_shape)})", got)
        shape = torch.broadcast_shapes(value.shape[: value.ndim - n], self.batch_shape)
        rows = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(rows, self._contexts(len(rows))).reshape(shape)

    def __repr__(self) -> str:
        """The batch shape and the event shape."""
        return f"FlowDistribution(batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)})"

    def _contexts(self, n: int) -> Tensor | None:
        """The contexts of `n` samples, whose batch axes vary fastest; None for a flow without context."""
        if self.context is None:
            return None
        rows = torch.arange(len(self.context), device=self.context.device).expand(self.batch_shape).flatten()
        return self.context[rows.repeat(n // max(1, len(rows)))]
