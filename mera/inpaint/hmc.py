"""Hamiltonian Monte Carlo with many chains at once (Neal 2011, https://arxiv.org/abs/1206.1901)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mera.display.progress import ProgressBar

__all__ = ["hmc"]

TARGET = 0.8
"""The acceptance rate to which step sizes are tuned."""
MIN_EIGENVALUE = 1e-8
"""The lower bound of the eigenvalues of a metric, relative to the largest eigenvalue."""


def hmc(
    log_prob: Callable[[Tensor], Tensor],
    metric: Callable[[Tensor], Tensor],
    start: Tensor,
    warmup: int,
    iterations: int,
    leapfrog: int,
    progress_bar: ProgressBar,
) -> tuple[Tensor, Tensor, float]:
    """Draw samples from a density that is known up to a factor, with K chains side by side.

    During the warm-up each chain tunes a step size of its own to the acceptance rate 0.8. At the start and after one
    and two thirds of the warm-up, the mass matrix of a chain is set to the metric at its position. Afterwards both stay
    as they are.

    Args:
        log_prob: the logarithm of the density, from (K, d) to (K,), differentiable.
        metric: from (K, d) to positive definite matrices (K, d, d), an approximation of minus the second derivatives of
            `log_prob`.
        start: the positions at which the chains start, (K, d).
        warmup: the number of iterations of the warm-up, whose positions are not returned.
        iterations: the number of iterations after the warm-up.
        leapfrog: the most leapfrog steps in an iteration; their number is drawn at random, so that trajectories do not
            close.
        progress_bar: shows the progress.

    Returns:
        The positions (iterations, K, d), `log_prob` there (iterations, K), and the mean acceptance rate.
    """

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density (K,) and its gradient (K, d)."""
        x = x.detach().requires_grad_()
        value = log_prob(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    x = start.detach()
    first = 0.5 / x.shape[1] ** 0.25
    step = torch.full_like(x[:, :1], first)
    kept, values, accepted, tuned = [], [], 0.0, 0
    value, gradient = evaluate(x)
    for i in range(warmup + iterations):
        if i in {0, warmup // 3, 2 * warmup // 3}:
            scale, tuned = _whitening(metric(x)), 0
        momentum = torch.randn_like(x)  # of unit mass, in coordinates q with x = scale q
        energy = value - 0.5 * momentum.square().sum(1)
        y, new_gradient, new_value = x, gradient, value
        for _ in range(1 + int(torch.randint(leapfrog, ()))):
            momentum = momentum + 0.5 * step * _times(scale.mT, new_gradient)
            y = y + step * _times(scale, momentum)
            new_value, new_gradient = evaluate(y)
            momentum = momentum + 0.5 * step * _times(scale.mT, new_gradient)
        change = new_value - 0.5 * momentum.square().sum(1) - energy
        change = torch.where(change.isfinite(), change, -math.inf)  # trajectories that diverge are rejected
        rate = change.clamp(max=0).exp()[:, None]
        accept = torch.rand_like(rate) < rate
        x, gradient = torch.where(accept, y, x), torch.where(accept, new_gradient, gradient)
        value = torch.where(accept[:, 0], new_value, value)
        if i < warmup:
            tuned += 1
            step = step * torch.exp((rate - TARGET) / tuned**0.5)
        else:
            kept.append(x)
            values.append(value)
            accepted += rate.mean().item() / iterations
        progress_bar.update(i + 1, (i + 1) / (warmup + iterations), f"accepted {rate.mean():.2f}")
    return torch.stack(kept), torch.stack(values), accepted


def _whitening(metric: Tensor) -> Tensor:
    """For each metric M (K, d, d) a matrix S with S S^T = M^-1, where small eigenvalues of M are raised to a bound."""
    values, vectors = torch.linalg.eigh(metric.double().nan_to_num())
    floor = MIN_EIGENVALUE * values[:, -1:].clamp(min=1e-12)
    return (vectors / values.clamp(min=floor).sqrt()[:, None, :]).to(metric)


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """The product of matrices (K, d, d) with vectors (K, d)."""
    return (matrix @ x[..., None])[..., 0]
