"""Weights of samples: their effective number, the largest step of annealing that keeps it, and resampling."""

from __future__ import annotations

import torch
from torch import Tensor

BISECTIONS, LEAST = 40, 1e-12
"""The halvings of the interval of a change of beta, and the smallest change."""


def effective_number(log_weights: Tensor, dim: int = 0) -> Tensor:
    r"""The effective number of weighted samples along the axis `dim`, :math:`(\sum w)^2 / \sum w^2`."""
    return 1 / log_weights.softmax(dim).square().sum(dim)


def largest_change(log_ratio: Tensor, most: float, number: float) -> Tensor:
    """The largest change of beta, up to `most`, at which the weights exp(change * log_ratio) keep an effective number.

    Args:
        log_ratio: the logarithms of the ratios of two densities at the particles of populations, (..., K).
        most: the largest change.
        number: the effective number to keep.

    Returns:
        The changes, (...).
    """
    low, high = torch.zeros_like(log_ratio[..., 0]), torch.full_like(log_ratio[..., 0], most)
    keeps_enough = effective_number(high[..., None] * log_ratio, -1) >= number
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_fine = effective_number(middle[..., None] * log_ratio, -1) >= number
        low, high = torch.where(is_fine, middle, low), torch.where(is_fine, high, middle)
    return torch.where(keeps_enough, most, low.clamp(min=LEAST))


def systematic(weights: Tensor) -> Tensor:
    """Systematic resampling of populations: the indices of the parents, (P, K), by normalised weights, (P, K)."""
    populations, n = weights.shape
    first = torch.rand(populations, 1, device=weights.device, dtype=weights.dtype)
    places = (torch.arange(n, device=weights.device) + first) / n
    return torch.searchsorted(weights.cumsum(1), places).clamp(max=n - 1)
