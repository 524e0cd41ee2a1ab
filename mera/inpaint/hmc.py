"""Hamiltonian Monte Carlo (Neal 2011), many chains at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mera._utils.progress import ProgressBar

__all__ = ["hmc"]

TARGET = 0.8
"""The rate of acceptance that the step size is tuned to."""
SOFTEST = 1e-8
"""The least eigenvalue of a metric that is believed, in terms of the largest."""


def hmc(
    log_prob: Callable[[Tensor], Tensor],
    metric: Callable[[Tensor], Tensor],
    start: Tensor,
    warmup: int,
    iterations: int,
    leapfrog: int,
    progress_bar: ProgressBar,
) -> tuple[Tensor, Tensor, float]:
    """Sample from exp(log_prob), up to its normaliser, with a chain for each row of `start`.

    In the warm-up each chain follows a step size of its own to the wanted rate of acceptance, and its mass matrix
    is three times taken to be the metric where it then is. Then both stay.

    Args:
        log_prob: (K, d) -> (K,), differentiable.
        metric: (K, d) -> (K, d, d), about minus the second derivatives of log_prob, positive definite.
        start: (K, d).
        warmup: iterations that tune and are thrown away.
        iterations: those behind it, which are kept.
        leapfrog: leapfrog steps in an iteration, at most; fewer are drawn at random, so that no orbit closes.

    Returns the chains (iterations, K, d), log_prob along them (iterations, K), and the rate of acceptance.
    """

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
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
        momentum = torch.randn_like(x)  # of unit mass in coordinates q, where x = scale q
        energy = value - 0.5 * momentum.square().sum(1)
        y, new_gradient, new_value = x, gradient, value
        for _ in range(1 + int(torch.randint(leapfrog, ()))):
            momentum = momentum + 0.5 * step * _times(scale.mT, new_gradient)
            y = y + step * _times(scale, momentum)
            new_value, new_gradient = evaluate(y)
            momentum = momentum + 0.5 * step * _times(scale.mT, new_gradient)
        change = new_value - 0.5 * momentum.square().sum(1) - energy
        change = torch.where(change.isfinite(), change, -math.inf)  # an orbit that left the numbers is rejected
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
    """For each metric (K, d, d) a matrix S with S S^T its inverse, directions that it hardly knows held back."""
    values, vectors = torch.linalg.eigh(metric.double().nan_to_num())
    floor = SOFTEST * values[:, -1:].clamp(min=1e-12)
    return (vectors / values.clamp(min=floor).sqrt()[:, None, :]).to(metric)


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """(K, d, d), (K, d) -> (K, d)."""
    return (matrix @ x[..., None])[..., 0]
