"""R-hat and effective sizes of Markov chains (Vehtari et al. 2021, https://arxiv.org/abs/1903.08008)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

MIXED = 1.05
"""Chains count as mixed up to this R-hat."""


def r_hat(chains: Tensor) -> Tensor:
    """Rank-normalised split R-hat of chains: (d,) from (draws, K, d); NaN for constants and too few draws.

    The halves of each chain are compared; of a single chain, the quarters, since R-hat takes two chains at least.
    """
    half = chains.shape[0] // 2
    if chains.shape[1] == 1:
        chains = torch.cat([chains[:half], chains[half : 2 * half]], 1)
    return _diagnose("rhat", chains)


def effective_size(chains: Tensor) -> Tensor:
    """The number of independent draws with the error of the mean of chains: (d,) from (draws, K, d)."""
    return _diagnose("ess", chains, method="mean")


def _diagnose(name: str, chains: Tensor, **options: Any) -> Tensor:
    """A diagnostic of the library ArviZ, imported late since it takes a second."""
    from arviz_stats.base import array_stats

    with np.errstate(all="ignore"):  # constants give NaN
        values = chains.detach().double().cpu().numpy()
        return torch.from_numpy(np.asarray(getattr(array_stats, name)(values, chain_axis=1, draw_axis=0, **options)))
