"""Weights of samples: their effective number, the largest step of annealing that keeps it, and resampling."""

from __future__ import annotations

import torch
from torch import Tensor

BISECTIONS = 40


def effective_number(log_weights: Tensor, dim: int = 0) -> Tensor:
    r"""The effective number of weighted samples along the axis `dim`, :math:`(\sum w)^2 / \sum w^2`."""
    return 1 / log_weights.softmax(dim).square().sum(dim)


def largest_change(log_ratio: Tensor, most: float, survivors: float) -> float:
    """The largest change of beta, up to `most`, at which the weights exp(change * log_ratio) keep their number.

    Args:
        log_ratio: the logarithm of the ratio of the densities at the particles, (K,).
        most: the largest change.
        survivors: the effective number to keep, as a fraction of the particles of finite ratio.
    """

    def keeps_enough(change: float) -> bool:
        return effective_number(change * log_ratio).item() >= survivors * int(log_ratio.isfinite().sum())

    if keeps_enough(most):
        return most
    low, high = 0.0, most
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps_enough(middle) else (low, middle)
    return max(low, 1e-9)


def systematic(weights: Tensor) -> Tensor:
    """Systematic resampling of populations: the indices of the parents, (P, K), by normalised weights, (P, K)."""
    populations, n = weights.shape
    first = torch.rand(populations, 1, device=weights.device, dtype=weights.dtype)
    places = (torch.arange(n, device=weights.device) + first) / n
    return torch.searchsorted(weights.cumsum(1), places).clamp(max=n - 1)
