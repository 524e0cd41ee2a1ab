"""Samples of fillings by Hamiltonian Monte Carlo, with a mass matrix and a step size for each chain."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mera._utils.progress import ProgressBar
from mera.sampling.hamiltonian import HamiltonianChains, StepSize

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
    """Draw samples from an unnormalized density, with K chains side by side.

    During the warm-up each chain tunes its own step size to the acceptance rate 0.8. At the start and after one and two
    thirds of the warm-up, the mass matrix of a chain is set to the metric at its position. Both are constant after the
    warm-up.

    Args:
        log_prob: the logarithm of the density, from (K, d) to (K,), differentiable.
        metric: from (K, d) to positive definite matrices (K, d, d), an approximation of minus the second derivatives of
            `log_prob`.
        start: the positions at which the chains start, (K, d).
        warmup: the number of iterations of the warm-up, whose positions are not returned.
        iterations: the number of iterations after the warm-up.
        leapfrog: the largest number of leapfrog steps in an iteration; the number is random, so that trajectories do
            not close.

    Returns:
        The positions (iterations, K, d), `log_prob` there (iterations, K), and the mean acceptance rate.
    """
    chains = HamiltonianChains(log_prob, start)
    step = StepSize(torch.full_like(chains.x[:, :1], 0.5 / chains.x.shape[1] ** 0.25))
    positions, values, accepted = [], [], 0.0
    for i in range(warmup + iterations):
        if i in {0, warmup // 3, 2 * warmup // 3}:
            chains.scale = whitening(metric(chains.x))
            step.restart()
        rate = chains.trajectory(step.value, 1 + int(torch.randint(leapfrog, ())))
        if i < warmup:
            step.tune(rate[:, None])
        else:
            positions.append(chains.x)
            values.append(chains.value)
            accepted += rate.mean().item() / iterations
        progress_bar.update(i + 1, (i + 1) / (warmup + iterations), f"accepted {rate.mean():.2f}")
    return torch.stack(positions), torch.stack(values), accepted


def whitening(metric: Tensor) -> Tensor:
    """For each metric M (K, d, d) a matrix S with S S^T = M^-1, after clamping the eigenvalues of M from below."""
    values, vectors = torch.linalg.eigh(metric.double().nan_to_num())
    floor = MIN_EIGENVALUE * values[:, -1:].clamp(min=1e-12)
    return (vectors / values.clamp(min=floor).sqrt()[:, None, :]).to(metric)
