"""Densities that know of a symmetry of what they describe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mera.flow import Flow

__all__ = ["Symmetrized"]


class Symmetrized(nn.Module):
    """p(x) = (q(x) + q(-x)) / 2 for the density q of a flow: Z2, the global spin flip (Li & Wang 2018).

    A mixture of the flow and its mirror image, exactly symmetric whatever the weights are. It has no latents, but
    samples and densities, which is what variational training needs: minimise the mean of log p(x) + energy(x), both
    from `rsample_and_log_prob(n)`.

    Args:
        flow: q.

    >>> import mera, torch
    >>> p = mera.Symmetrized(mera.build("neuralrg", L=4, hidden=(8,)))
    >>> x = p.rsample(3)
    >>> torch.allclose(p.log_prob(x), p.log_prob(-x))
    True
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        if not isinstance(flow, Flow):
            raise ValueError(f"Expected a Flow; got {type(flow).__name__}")
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same as `log_prob`, so that several processes can share it."""
        return self.log_prob(x, context)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x) of data (B, C, *shape): (B,), in nats."""
        return torch.logaddexp(self.flow.log_prob(x, context), self.flow.log_prob(-x, context)) - math.log(2)

    def rsample(self, n: int, context: Tensor | None = None) -> Tensor:
        """Data (n, C, *shape), differentiable in the flow's parameters; each sample's sign is drawn."""
        z = self.flow.sample_latents(n)
        return self._signed(self.flow.inverse(z, context)[0])

    def rsample_and_log_prob(self, n: int, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples as of `rsample` and log p of each (n,), in nats, from two passes instead of three."""
        z = self.flow.sample_latents(n)
        x, log_det = self.flow.inverse(z, context)
        log_q = self.flow.prior.log_prob(z) - log_det
        return self._signed(x), torch.logaddexp(log_q, self.flow.log_prob(-x, context)) - math.log(2)

    def sample(self, n: int, context: Tensor | None = None, *, temperature: float | Sequence[float] = 1.0) -> Tensor:
        """Data (n, C, *shape), without gradients; arguments as for `Flow.sample`."""
        return self._signed(self.flow.sample(n, context, temperature=temperature))

    @staticmethod
    def _signed(x: Tensor) -> Tensor:
        signs = torch.randint(0, 2, (x.shape[0],), device=x.device) * 2 - 1
        return x * signs.to(x.dtype).view(-1, *(1 for _ in x.shape[1:]))
