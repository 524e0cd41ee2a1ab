"""Diagnostics of Markov chains: split R-hat and effective sample size.

As in Vehtari et al. (2021), https://arxiv.org/abs/1903.08008, without rank normalisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["effective_size", "split_r_hat"]


def split_r_hat(chains: Tensor) -> Tensor:
    """Split R-hat (d,): the square root of the ratio of the total variance to the variance within half chains.

    Args:
        chains: draws of K chains, (draws, K, d).
    """
    chains = _split(chains)
    within, total = _variances(chains)
    return (total / within).sqrt()


def effective_size(chains: Tensor) -> Tensor:
    """Effective sample size (d,): the number of independent draws that give the mean with the same error.

    Autocorrelations are added up to the end of Geyer's initial monotone sequence.

    Args:
        chains: draws of K chains, (draws, K, d).
    """
    chains = _split(chains)
    n, m = chains.shape[:2]
    within, total = _variances(chains)
    centred = chains - chains.mean(0)
    spectrum = torch.fft.rfft(centred, n=2 * n, dim=0)
    covariance = torch.fft.irfft(spectrum.abs().square(), n=2 * n, dim=0)[:n].mean(1) / n  # (n, d)
    correlation = 1 - (within - covariance * n / (n - 1)) / total
    pairs = correlation[: n // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    positive = (pairs > 0).cumprod(0) * pairs
    decreasing = positive.cummin(0).values
    time = (2 * decreasing.sum(0) - 1).clamp(min=1 / math.log10(m * n))  # a bound for anticorrelated draws
    return m * n / time


def _split(chains: Tensor) -> Tensor:
    """Both halves of each chain as chains of their own, (draws / 2, 2 K, d), in double precision."""
    half = chains.shape[0] // 2
    return torch.cat([chains[:half], chains[half : 2 * half]], dim=1).double()


def _variances(chains: Tensor) -> tuple[Tensor, Tensor]:
    """The mean variance within chains, and the total variance, estimated from those within and between chains."""
    n = chains.shape[0]
    within = chains.var(0).mean(0)
    return within, (n - 1) / n * within + chains.mean(0).var(0)
