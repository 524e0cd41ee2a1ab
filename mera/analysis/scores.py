"""Scores of disentanglement: DCI, MIG and SAP."""

from __future__ import annotations

import numpy as np
import torch

from mera.analysis.dependence import information_of_bins

BINS = 20
"""The number of bins of the histograms for mutual information."""


def dci(importance: np.ndarray) -> tuple[float, float]:
    r"""Disentanglement and completeness (Eastwood & Williams, ICLR 2018).

    With the importance :math:`R_{ij} \ge 0` of latent i for factor j, the disentanglement of a latent is
    :math:`1 - H(R_{i\cdot} / \sum_j R_{ij}) / \ln k` for k factors, averaged with the weights :math:`\sum_j R_{ij}`.
    The completeness of a factor is :math:`1 - H(R_{\cdot j} / \sum_i R_{ij}) / \ln n` for n latents, averaged with
    equal weights.

    >>> dci(np.eye(3)[:, [2, 0, 1]])
    (1.0, 1.0)
    >>> dci(np.ones((4, 2)))
    (0.0, 0.0)
    """
    n, k = importance.shape
    weights = importance.sum(1)
    if k < 2 or n < 2 or weights.sum() == 0:
        return float("nan"), float("nan")
    latents = 1 - _entropy(importance) / np.log(k)
    columns = 1 - _entropy(importance.T) / np.log(n)
    return float((latents * weights).sum() / weights.sum()), float(columns.mean())


def mig(z: np.ndarray, factors: np.ndarray) -> float:
    r"""The mutual information gap (Chen et al. 2018, https://arxiv.org/abs/1802.04942).

    For latents (B, latents) and factors (B, k), the mean over the factors of the mutual information of the best latent
    less that of the second best, divided by the entropy of the factor, from 20 bins with equal numbers of images.
    """
    binned_z = torch.from_numpy(np.stack([_binned(column) for column in z.T], axis=1))
    gaps = []
    for column in factors.T:
        factor = _binned(column)
        of_latents = information_of_bins(binned_z, torch.from_numpy(factor)[:, None].expand_as(binned_z), BINS)
        information = np.sort(of_latents.numpy())  # less a mean, which the gap does not see
        entropy = _entropy(np.bincount(factor)[None].astype(float))[0]
        if len(information) > 1 and entropy > 0:
            gaps.append((information[-1] - information[-2]) / entropy)
    return float(np.mean(gaps)) if gaps else float("nan")


def sap(z: np.ndarray, factors: np.ndarray) -> float:
    r"""The separated attribute predictability (Kumar et al. 2018, https://arxiv.org/abs/1711.00848).

    For latents (B, latents) and factors (B, k), the mean over the factors of the test :math:`R^2` of linear regression
    on the best single latent less that of the second best.
    """
    half = len(z) // 2
    gaps = []
    for column in factors.T.astype(float):
        a, b = z[:half] - z[:half].mean(0), column[:half] - column[:half].mean()
        slope = (a * b[:, None]).sum(0) / np.maximum((a**2).sum(0), 1e-12)
        residual = column[half:, None] - b.mean() - column[:half].mean() - slope * (z[half:] - z[:half].mean(0))
        spread = ((column[half:] - column[half:].mean()) ** 2).sum()
        scores = np.sort(1 - (residual**2).sum(0) / max(spread, 1e-12)).clip(min=0)
        if len(scores) > 1:
            gaps.append(scores[-1] - scores[-2])
    return float(np.mean(gaps)) if gaps else float("nan")


def _entropy(rows: np.ndarray) -> np.ndarray:
    """The entropy of each row after normalisation to a distribution, in nats; 0 for a row of zeros."""
    p = rows / np.maximum(rows.sum(1, keepdims=True), 1e-300)
    return -(p * np.log(np.maximum(p, 1e-300))).sum(1)


def _binned(column: np.ndarray) -> np.ndarray:
    """The bin index of each value: a bin for each value of a class, or else 20 bins with equal numbers of values."""
    values, inverse = np.unique(column, return_inverse=True)
    if len(values) <= BINS:
        return inverse
    edges = np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, column, side="right")
