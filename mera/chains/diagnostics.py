"""Split R-hat of Markov chains (Vehtari et al. 2021, https://arxiv.org/abs/1903.08008), without rank normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

MIXED = 1.05
"""The largest R-hat of chains that are called mixed."""


def split_r_hat(chains: Tensor) -> Tensor:
    """Split R-hat (d,): the square root of the ratio of the total variance to the variance within half chains.

    Args:
        chains: draws of K chains, (draws, K, d).
    """
    within, total = variances(split_chains(chains))
    return (total / within).sqrt()


def split_chains(chains: Tensor) -> Tensor:
    """Both halves of each chain as chains of their own, (draws / 2, 2 K, d), in double precision.

    Args:
        chains: draws of K chains, (draws, K, d).
    """
    half = chains.shape[0] // 2
    return torch.cat([chains[:half], chains[half : 2 * half]], dim=1).double()


def variances(chains: Tensor) -> tuple[Tensor, Tensor]:
    """The mean variance within chains, (d,), and the total variance, estimated within and between chains, (d,).

    Args:
        chains: draws of K chains, (draws, K, d).
    """
    n = chains.shape[0]
    within = chains.var(0).mean(0)
    return within, (n - 1) / n * within + chains.mean(0).var(0)
