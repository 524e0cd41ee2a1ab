"""Flows as distributions: of torch, and symmetric ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from mera._utils.errors import InputError
from mera.graph.contexts import ContextEncoder
from mera.graph.plan import Plan

__all__ = ["FlowDistribution", "Symmetrized"]

Size = torch.Size | list[int] | tuple[int, ...]


class FlowLike(Protocol):
    """The part of `mera.Flow` that distributions of flows use."""

    plan: Plan
    context_encoder: ContextEncoder

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x), in nats."""

    def rsample_and_log_prob(self, n: int, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples and their densities."""

    def sample(self, n: int, context: Tensor | None = None, *, temperature: Any = 1.0) -> Tensor:
        """Samples, without gradients."""


class FlowDistribution(Distribution):
    """p(x) of a flow's data, or p(x | context) for a batch of contexts, in the flow's own space.

    Shapes: the event shape is (C, *shape), the batch shape () or, with contexts (B, ...), (B,). `rsample` is
    differentiable in the flow's parameters and the contexts; the prior's own parameters are constants.

    Args:
        flow: the flow, whose parameters the distribution shares.
        context: for a conditional flow: (B, *flow.plan.context), or B class numbers.
        batch_shape: a larger batch shape, as `expand` makes it; that of the contexts if None.

    Raises:
        ValueError: if the context is not one of the flow's.

    >>> import mera, torch
    >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
    >>> p.log_prob(p.sample((5,))).shape, p.event_shape
    (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, flow: FlowLike, context: Tensor | None = None, batch_shape: Size | None = None) -> None:
        is_batch = isinstance(context, Tensor) and context.ndim > 0
        flow.context_encoder(context, len(context) if is_batch and context is not None else 1)  # refuses what is none
        self.flow, self.context = flow, context
        own_batch_shape = [] if context is None else [len(context)]
        shape = torch.Size(own_batch_shape if batch_shape is None else batch_shape)
        super().__init__(shape, torch.Size(flow.plan.input.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All real numbers."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Size, _instance: Distribution | None = None) -> FlowDistribution:
        """The same distribution for a larger batch, to which the batch shape broadcasts.

        Raises:
            ValueError: if the batch shape does not broadcast to it.
        """
        larger = torch.Size(batch_shape)
        try:
            broadcasts = torch.broadcast_shapes(self.batch_shape, larger) == larger
        except RuntimeError:
            broadcasts = False
        if not broadcasts:
            raise InputError(f"a batch shape that {tuple(self.batch_shape)} expands to", str(tuple(larger)))
        return FlowDistribution(self.flow, self.context, larger)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        """Samples (*sample_shape, *batch_shape, *event_shape)."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: int | Size = ()) -> tuple[Tensor, Tensor]:
        """Samples and their densities from one pass instead of two.

        Args:
            sample_shape: the shape of the samples, or their number.

        Returns:
            Samples (*sample_shape, *batch_shape, *event_shape), and log p of each, in nats.

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
        """log p of values (*shape, *event_shape), whose shape broadcasts with the batch shape: (*shape,), in nats.

        Raises:
            ValueError: if the values are no events, or of another dtype or device than the flow.
        """
        n = len(self.event_shape)
        if not isinstance(value, Tensor) or value.shape[max(0, value.ndim - n) :] != self.event_shape:
            got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"values (..., {tuple(self.event_shape)})", got)
        shape = torch.broadcast_shapes(value.shape[: value.ndim - n], self.batch_shape)
        rows = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(rows, self._contexts(len(rows))).reshape(shape)

    def __repr__(self) -> str:
        """The shapes."""
        return f"FlowDistribution(batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)})"

    def _contexts(self, n: int) -> Tensor | None:
        """The contexts of `n` samples, in which the batch runs fastest."""
        if self.context is None:
            return None
        rows = torch.arange(len(self.context), device=self.context.device).expand(self.batch_shape).flatten()
        return self.context[rows.repeat(n // max(1, len(rows)))]


class Symmetrized(nn.Module):
    r"""A flow with the global spin flip, Z2, built in: :math:`p(x) = (q(x) + q(-x)) / 2` for the density q of a flow
    (`NeuralRG <https://arxiv.org/abs/1802.02840>`_).

    p is a mixture of the flow and its mirror image, exactly symmetric whatever the weights are. It has no latents, but
    samples and densities, which is what variational training needs: minimise the mean of log p(x) + energy(x), both
    from `rsample_and_log_prob(n)`.

    Args:
        flow: the flow with density q, whose parameters it shares.

    Raises:
        ValueError: if `flow` is no module with samples and densities.

    >>> import mera, torch
    >>> p = mera.Symmetrized(mera.build("neuralrg", L=4, hidden=(8,)))
    >>> x = p.rsample(3)
    >>> torch.allclose(p.log_prob(x), p.log_prob(-x))
    True
    """

    flow: FlowLike

    def __init__(self, flow: FlowLike) -> None:
        super().__init__()
        if not isinstance(flow, nn.Module) or not hasattr(flow, "rsample_and_log_prob"):
            raise InputError("a Flow", type(flow).__name__)
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same as `log_prob`, so that several processes can share the module."""
        return self.log_prob(x, context)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x) of data (B, C, *shape): (B,), in nats."""
        return torch.logaddexp(self.flow.log_prob(x, context), self.flow.log_prob(-x, context)) - math.log(2)

    def rsample(self, n: int, context: Tensor | None = None) -> Tensor:
        """Data (n, C, *shape), differentiable in the flow's parameters; the sign of each sample is drawn."""
        return self._with_random_signs(self.flow.rsample_and_log_prob(n, context)[0])

    def rsample_and_log_prob(self, n: int, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples and their densities, from two passes instead of three.

        Args:
            n: how many samples.
            context: for a conditional flow.

        Returns:
            The samples (n, C, *shape), as `rsample` draws them; and log p of each (n,), in nats.
        """
        x, log_q = self.flow.rsample_and_log_prob(n, context)
        log_p = torch.logaddexp(log_q, self.flow.log_prob(-x, context)) - math.log(2)
        return self._with_random_signs(x), log_p

    def sample(self, n: int, context: Tensor | None = None, *, temperature: float | Sequence[float] = 1.0) -> Tensor:
        """Data (n, C, *shape), without gradients; arguments are those of `Flow.sample`."""
        return self._with_random_signs(self.flow.sample(n, context, temperature=temperature))

    @staticmethod
    def _with_random_signs(x: Tensor) -> Tensor:
        signs = torch.randint(0, 2, (x.shape[0],), device=x.device) * 2 - 1
        return x * signs.to(x.dtype).view(-1, *(1 for _ in x.shape[1:]))
