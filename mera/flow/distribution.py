"""Flows as distributions of torch, and an estimate of their Kullback-Leibler divergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mera._utils.checks import check_count, check_flag, check_tensor, is_integer
from mera._utils.errors import InputError
from mera._utils.torch_private import is_wrapped_by_functorch
from mera.executor.contexts import Context

if TYPE_CHECKING:
    from mera.flow.density import Density

Size = torch.Size | list[int] | tuple[int, ...]


class FlowDistribution(Distribution):
    r"""A flow as a `torch.distributions.Distribution`: :math:`p(x)`, or :math:`p(x | \text{context})` for contexts.

    The event shape is (C, *shape), for data in the flow's own space. The batch shape is (B,) for B contexts, and () for
    a single class number or a flow without context. `rsample` is differentiable in the flow's parameters and the
    contexts; the parameters of the prior are constants. For Pyro, inherit from this class and from
    `pyro.distributions.torch_distribution.TorchDistributionMixin`, in this order.

    Args:
        flow: the flow, whose parameters the distribution shares.
        context: the contexts of the batch; None for a flow without context.
        validate_args: whether `log_prob` refuses NaN, and other values outside of the support; None for the default of
            torch, `Distribution.set_default_validate_args`. Shapes, dtypes and devices are always checked.

    >>> import mera, torch
    >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
    >>> p.log_prob(p.sample((5,))).shape, p.event_shape
    (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, flow: Density, context: Context | None = None, validate_args: bool | None = True) -> None:
        encoder, self.flow = flow.context_encoder, flow
        contexts = encoder.as_tensor(context)
        batch_shape = torch.Size([len(contexts)] if isinstance(contexts, Tensor) and contexts.ndim else [])
        encoder(contexts, batch_shape.numel(), flow.device)  # checks it
        if is_integer(context) or getattr(context, "ndim", 1) == 0:  # one class number, without a batch
            contexts, batch_shape = contexts[0], torch.Size()
        self.context: Tensor | None = contexts
        if validate_args is not None:
            check_flag(validate_args, "validate_args")
        super().__init__(batch_shape, torch.Size(flow.plan.input.event_shape), validate_args=validate_args)

    def expand(self, batch_shape: Size, _instance: Any = None) -> FlowDistribution:
        """The distribution with a larger batch shape, with which its own has to broadcast; samples are independent.

        >>> import mera
        >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution().expand((3,))
        >>> p.sample((5,)).shape
        torch.Size([5, 3, 1, 8, 8])
        """
        other, shape = self._get_checked_instance(FlowDistribution, _instance), torch.Size(batch_shape)
        torch.empty(self.batch_shape).expand(shape)  # refuses a shape that does not fit
        other.flow, other.context = self.flow, self.context
        if self.context is not None:
            other.context = self.context.expand(*shape, *self.context.shape[len(self.batch_shape) :])
        Distribution.__init__(other, shape, self.event_shape, validate_args=self._validate_args)
        return other

    def entropy(self) -> NoReturn:
        """Raise a NotImplementedError, since the entropy has no closed form; average -log_prob over samples."""
        raise NotImplementedError("The entropy of a flow has no closed form; average -p.log_prob(x) over samples x.")

    @property
    def mean(self) -> NoReturn:
        """Raise a NotImplementedError, since the mean of a flow has no closed form; average samples."""
        raise NotImplementedError("The mean of a flow has no closed form; use p.sample((n,)).mean(0).")

    @property
    def support(self) -> constraints.Constraint:
        """The interval of the prior for a flow of angles, else all real numbers."""
        angles = constraints.interval(-math.pi, math.pi)
        return constraints.independent(angles if self.flow.flow.of_angles else constraints.real, len(self.event_shape))

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        """Draw samples (*sample_shape, *batch_shape, *event_shape), differentiable in parameters and contexts."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: int | Size = ()) -> tuple[Tensor, Tensor]:
        """Draw samples as `rsample` does, with the log-density of each, (*sample_shape, *batch_shape), from one pass.

        The shape may also be a number of samples.

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
        """The log-density, in nats, of events (*shape, *event_shape), where `shape` broadcasts with the batch shape.

        Raises:
            ValueError: if the values are not events, not of the flow's dtype and device, or, with `validate_args`,
                outside of the support.
            RuntimeError: if `shape` does not broadcast with the batch shape.
        """
        n_axes = len(self.event_shape)
        if value.shape[-n_axes:] != self.event_shape:  # would broadcast, to events that nobody passed
            sizes = ", ".join(map(str, self.event_shape))
            raise InputError(f"values of shape (..., {sizes})", str(tuple(value.shape)))
        shape = torch.broadcast_shapes(value.shape[:-n_axes], self.batch_shape)
        rows = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        check_tensor("values", rows, tuple(self.event_shape), self.flow.flow.reference)
        if self._validate_args and not is_wrapped_by_functorch(value):
            self._validate_sample(value)
        return self.flow.log_prob(rows, self._contexts(len(rows))).reshape(shape)

    def _contexts(self, n: int) -> Tensor | None:
        """The contexts of `n` samples, whose batch axes vary fastest; None for a flow without context."""
        if self.context is None:
            return None
        rows = self.context.reshape(-1, *self.context.shape[len(self.batch_shape) :])
        return rows.repeat(n // max(1, len(rows)), *(1 for _ in rows.shape[1:]))


def kl_divergence(p: Distribution, q: Distribution, n: int = 1000) -> tuple[Tensor, Tensor]:
    r"""Estimate the divergence of two distributions, :math:`E_p[\ln p(x) - \ln q(x)]`, and its error, in nats.

    This function takes any two distributions of torch, so that each may be a flow. The estimate is the mean over
    samples of p, and its standard error is their standard deviation over :math:`\sqrt{n}`; both have the common batch
    shape of p and q. The error is too small if p has regions that its samples seldom reach and where q is tiny.

    `torch.distributions.kl_divergence` has no error to return, and raises a `NotImplementedError` for a flow; Pyro then
    estimates the divergence itself.

    Args:
        p: the distribution that is sampled. The estimate is differentiable in its parameters if it has `rsample`.
        q: a distribution of events of the same shape; the estimate is differentiable in its parameters.
        n: the number of samples for each element of the batch, drawn at once.

    Raises:
        ValueError: if the events differ in shape, or a sample of p is outside of the support of q.

    >>> import mera, torch
    >>> from torch.distributions import Independent, Normal
    >>> q = Independent(Normal(torch.zeros(1, 8, 8), 1.0), 3)
    >>> p = mera.build("rgflow", L=8, channels=1, hidden=(8,)).distribution()
    >>> estimate, error = mera.flow.kl_divergence(p, q)
    >>> bool(error >= 0)
    True
    """
    check_count(n, "a number of samples", 2)
    if p.event_shape != q.event_shape:
        got = f"{tuple(p.event_shape)} and {tuple(q.event_shape)}"
        raise InputError("two distributions of events of one shape (torch.distributions.Independent adds axes)", got)
    p = p.expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))
    if isinstance(p, FlowDistribution):
        x, log_p = p.rsample_and_log_prob((n,))
    else:
        x = p.rsample((n,)) if p.has_rsample else p.sample((n,))
        log_p = p.log_prob(x) if p.has_rsample else p.log_prob(x).detach()  # half of a gradient would be a wrong one
    ratio = log_p - q.log_prob(x)
    return ratio.mean(0), ratio.detach().std(0) / math.sqrt(n)
