"""Effective sample sizes: the number of independent samples with the same error as weighted or correlated samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.chains.diagnostics import split_chains, variances


def effective_number(log_weights: Tensor, dim: int = 0) -> Tensor:
    r"""The effective number of weighted samples along the axis `dim`, :math:`(\sum w)^2 / \sum w^2`."""
    return 1 / log_weights.softmax(dim).square().sum(dim)


def effective_size(chains: Tensor) -> Tensor:
    """The effective size (d,) of the draws of chains (Vehtari et al. 2021, https://arxiv.org/abs/1903.08008).

    Autocorrelations are summed up to the end of Geyer's initial monotone sequence, without rank normalisation.

    Args:
        chains: draws of K chains, (draws, K, d).
    """
    chains = split_chains(chains)
    n, m = chains.shape[:2]
    within, total = variances(chains)
    centred = chains - chains.mean(0)
    spectrum = torch.fft.rfft(centred, n=2 * n, dim=0)
    covariance = torch.fft.irfft(spectrum.abs().square(), n=2 * n, dim=0)[:n].mean(1) / n  # (n, d)
    correlation = 1 - (within - covariance * n / (n - 1)) / total
    pairs = correlation[: n // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    positive = (pairs > 0).cumprod(0) * pairs
    decreasing = positive.cummin(0).values
    time = (2 * decreasing.sum(0) - 1).clamp(min=1 / math.log10(m * n))  # bounded below for anticorrelated draws
    return m * n / time
