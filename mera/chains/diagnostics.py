"""Split R-hat of Markov chains (Vehtari et al. 2021, https://arxiv.org/abs/1903.08008), without rank normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

MIXED = 1.05
"""Chains count as mixed up to this R-hat."""


def split_r_hat(chains: Tensor) -> Tensor:
    """Split R-hat (d,) of chains (draws, K, d): the root of the ratio of total variance to that within half chains."""
    within, total = variances(split_chains(chains))
    return (total / within).sqrt()


def split_chains(chains: Tensor) -> Tensor:
    """Split each chain in two halves, from (draws, K, d) to (draws // 2, 2 K, d), in double precision."""
    half = chains.shape[0] // 2
    return torch.cat([chains[:half], chains[half : 2 * half]], dim=1).double()


def variances(chains: Tensor) -> tuple[Tensor, Tensor]:
    """The mean variance within chains (draws, K, d), and the total variance within and between chains, (d,) each."""
    n = chains.shape[0]
    within = chains.var(0).mean(0)
    return within, (n - 1) / n * within + chains.mean(0).var(0)
