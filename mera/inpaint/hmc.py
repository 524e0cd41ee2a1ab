"""Hamiltonian Monte Carlo (Neal 2011), many chains at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mera.progress import Ticker

__all__ = ["hmc"]

TARGET = 0.8
"""The rate of acceptance that the step size is tuned to."""


def hmc(
    log_prob: Callable[[Tensor], Tensor], start: Tensor, warmup: int, draws: int, leapfrog: int, ticker: Ticker
) -> tuple[Tensor, float]:
    """Sample from exp(log_prob), up to its normaliser, with a chain for each row of `start`.

    In the warm-up the step size follows the rate of acceptance, and the covariance of all chains' positions, taken
    twice, becomes the inverse of the mass matrix, so that long and narrow densities look round. Then both stay.

    Args:
        log_prob: (K, d) -> (K,), differentiable.
        start: (K, d).
        warmup: iterations that tune and are thrown away.
        draws: iterations that are kept.
        leapfrog: leapfrog steps in an iteration, at most; fewer are drawn at random, so that no orbit closes.

    Returns the chains (draws, K, d) and the rate of acceptance.
    """

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        value = log_prob(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    x = start.detach()
    d = x.shape[1]
    factor = _factor(x) if len(x) > d else torch.eye(d, dtype=x.dtype, device=x.device) * x.std().clamp(min=1e-3)
    step, seen, kept, accepted = 0.5 / d**0.25, [], [], 0.0
    value, gradient = evaluate(x)
    for i in range(warmup + draws):
        momentum = torch.randn_like(x)  # of unit mass in coordinates y, where x = y @ factor.T
        energy = value - 0.5 * momentum.square().sum(1)
        y, proposal, new_gradient, new_value = x, momentum, gradient, value
        for _ in range(1 + int(torch.randint(leapfrog, ()))):
            proposal = proposal + 0.5 * step * new_gradient @ factor
            y = y + step * proposal @ factor.T
            new_value, new_gradient = evaluate(y)
            proposal = proposal + 0.5 * step * new_gradient @ factor
        change = (new_value - 0.5 * proposal.square().sum(1) - energy).nan_to_num(-math.inf, -math.inf, -math.inf)
        accept = torch.rand_like(change).log() < change
        x = torch.where(accept[:, None], y, x)
        gradient = torch.where(accept[:, None], new_gradient, gradient)
        value = torch.where(accept, new_value, value)
        rate = change.clamp(max=0).exp().mean().item()
        if i < warmup:
            step *= math.exp(0.5 * (rate - TARGET) / math.sqrt(1 + i % max(warmup // 3, 1) / 10))
            seen.append(x)
            if i + 1 in (warmup // 3, 2 * warmup // 3):
                factor, step, seen = _factor(torch.cat(seen[len(seen) // 2 :])), 0.5 / d**0.25, []
        else:
            kept.append(x)
            accepted += rate / draws
        ticker.update(i + 1, (i + 1) / (warmup + draws), f"accepted {rate:.2f}")
    return torch.stack(kept), accepted


def _factor(x: Tensor) -> Tensor:
    """A Cholesky factor of the covariance of points (n, d), shrunk towards its diagonal as there are few."""
    covariance = x.T.cov(correction=0)
    diagonal = covariance.diagonal().clamp(min=1e-6)
    weight = len(x) / (len(x) + 5 * x.shape[1])
    return torch.linalg.cholesky(weight * covariance + (1 - weight) * diagonal.diag())
