"""How well chains mix: split R-hat and effective sample size (Vehtari et al. 2021, without rank normalisation)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Mixing", "effective_size", "split_r_hat"]


@dataclass(frozen=True)
class Mixing:
    """Diagnostics of posterior samples.

    Args:
        acceptance: mean probability with which a proposal was accepted.
        r_hat: the worst split R-hat over all masked variables and log p; near 1 where the chains agree.
        effective: the smallest number of independent draws that the chains are worth, over the same.
        draws: how many draws there were, all chains together.
    """

    acceptance: float
    r_hat: float
    effective: float
    draws: int

    def __str__(self) -> str:
        verdict = "mixed" if self.r_hat < 1.05 else "not mixed; more warm-up and iterations may help"
        return (
            f"acceptance {self.acceptance:.2f}, R-hat up to {self.r_hat:.3f}, {self.draws:,} draws worth "
            f"{self.effective:.0f} independent ones where they are worth least: {verdict}"
        )


def split_r_hat(chains: Tensor) -> Tensor:
    """R-hat (d,) of chains (draws, K, d), each cut in two halves."""
    chains = _split(chains)
    within, total = _variances(chains)
    return (total / within).sqrt()


def effective_size(chains: Tensor) -> Tensor:
    """Independent draws (d,) that chains (draws, K, d) are worth for a mean, by Geyer's initial monotone sequence."""
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
    time = (2 * decreasing.sum(0) - 1).clamp(min=1 / math.log10(m * n))  # no luck makes draws worth much more
    return m * n / time


def _split(chains: Tensor) -> Tensor:
    half = chains.shape[0] // 2
    return torch.cat([chains[:half], chains[half : 2 * half]], dim=1).double()


def _variances(chains: Tensor) -> tuple[Tensor, Tensor]:
    """Variance within chains, and of all draws together as between and within chains estimate it."""
    n = chains.shape[0]
    within = chains.var(0).mean(0)
    return within, (n - 1) / n * within + chains.mean(0).var(0)
