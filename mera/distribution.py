"""Flows as distributions of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

if TYPE_CHECKING:
    from mera.flow import Flow

__all__ = ["FlowDistribution"]

Size = torch.Size | list[int] | tuple[int, ...]


class FlowDistribution(Distribution):
    """p(x) of a flow's data, or p(x | context) for a batch of contexts, in the flow's own space.

    Shapes: the event shape is (C, *shape), the batch shape () or, with contexts (B, ...), (B,). `rsample` is
    differentiable in the flow's parameters and the contexts; the prior's own parameters are constants.

    Args:
        flow: the flow, whose parameters it shares.
        context: of a conditional flow, (B, *flow.plan.context) or B class numbers.
        batch_shape: a larger batch, as `expand` makes it.

    >>> import mera, torch
    >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
    >>> p.log_prob(p.sample((5,))).shape, p.event_shape
    (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Tensor | None = None, batch_shape: Size | None = None) -> None:
        batched = isinstance(context, Tensor) and context.ndim > 0
        flow.conditions.values(context, len(context) if batched and context is not None else 1)  # refuses what is none
        own = torch.Size([] if context is None else [len(context)])
        self.flow, self.context = flow, context
        shape = own if batch_shape is None else torch.Size(batch_shape)
        super().__init__(shape, torch.Size(flow.plan.input.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All real numbers."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Size, _instance: Distribution | None = None) -> FlowDistribution:
        """The same for a larger batch, to which the batch shape broadcasts.

        Raises:
            ValueError: if it does not.
        """
        wanted = torch.Size(batch_shape)
        try:
            fits = torch.broadcast_shapes(self.batch_shape, wanted) == wanted
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(f"Expected a batch shape that {tuple(self.batch_shape)} expands to; got {tuple(wanted)}")
        return FlowDistribution(self.flow, self.context, wanted)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        """Samples (*sample_shape, *batch_shape, *event_shape)."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Size = ()) -> tuple[Tensor, Tensor]:
        """Samples as of `rsample` and log p of each, in nats, from one pass instead of two.

        >>> import mera
        >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
        >>> x, log_prob = p.rsample_and_log_prob((5,))
        >>> bool((log_prob - p.log_prob(x)).abs().max() < 1e-3)
        True
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        batch = shape[: len(shape) - len(self.event_shape)]
        z = self.flow.sample_latents(batch.numel())
        x, log_det = self.flow.inverse(z, self._contexts(batch.numel()))
        return x.reshape(shape), (self.flow.prior.log_prob(z) - log_det).reshape(batch)

    def __repr__(self) -> str:
        """The shapes."""
        return f"FlowDistribution(batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)})"

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of values (*shape, *event_shape), whose shape broadcasts with the batch's: (*shape,), in nats.

        Raises:
            ValueError: if the values are no events, or of another dtype or device than the flow.
        """
        n = len(self.event_shape)
        if not isinstance(value, Tensor) or value.shape[max(0, value.ndim - n) :] != self.event_shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"Expected values (..., {tuple(self.event_shape)}); got {got}")
        shape = torch.broadcast_shapes(value.shape[: value.ndim - n], self.batch_shape)
        rows = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(rows, self._contexts(len(rows))).reshape(shape)

    def _contexts(self, rows: int) -> Tensor | None:
        """The contexts for so many samples, the batch running fastest."""
        if self.context is None:
            return None
        numbers = torch.arange(len(self.context), device=self.context.device).expand(self.batch_shape).flatten()
        return self.context[numbers.repeat(rows // max(1, len(numbers)))]
