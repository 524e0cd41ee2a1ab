"""Averages of draws with their errors: the Gamma method along chains, weighted samples, populations; R-hat by ArviZ.

Wolff 2004, https://arxiv.org/abs/hep-lat/0306017; Vehtari et al. 2021, https://arxiv.org/abs/1903.08008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError

MIXED = 1.05
"""Chains count as mixed up to this R-hat."""
MIN_DRAWS = 8
"""The least number of draws of a chain from which autocorrelations can be judged."""
ROUNDING = 1e-13
"""The spread of draws, relative to their size, that is rounding: a constant."""
FROZEN_BY_CHANCE = 1e-3
"""The probability below which chance does not explain a chain that never moves at the acceptance rate of all."""
DECAY_RATIO = 1.5
"""The assumed ratio of the exponential to the integrated autocorrelation time (Wolff's recommendation)."""
MIN_EFFECTIVE = 2
"""The effective number of samples below which a single weight decides, and errors are unknown."""


class GammaResult(NamedTuple):
    """The error of a mean over correlated draws.

    Args:
        error: the standard error of the mean over all draws of all chains.
        tau: the integrated autocorrelation time in draws, 1/2 for independent draws.
        tau_error: the standard error of `tau`.
        window: the largest lag, in draws, in the sum of autocorrelations.
    """

    error: float
    tau: float
    tau_error: float
    window: int


def gamma_method(chains: Tensor) -> GammaResult:
    r"""The standard error of the mean of correlated draws, and their integrated autocorrelation time.

    .. math::
        \tau = \frac{1}{2} + \sum_{t=1}^{W} \rho(t), \qquad
        \sigma^2 = \frac{2 \tau}{N} \Gamma(0)

    The window W is that of Section 3.3 of the paper, and for anticorrelated draws, for which there is none, the end of
    Geyer's initial monotone sequence (https://doi.org/10.1214/ss/1177011137). The bias of :math:`\Gamma` from the
    estimated mean is corrected (Eq. 49). Chains are replicas with a common mean.

    Args:
        chains: a quantity along K chains, (draws, K).

    Returns:
        The standard error of the mean over all draws; and the autocorrelation time with its error, in draws.

    Raises:
        ValueError: if the numbers are not real, finite and (draws, K), with at least 8 draws of each chain.

    >>> import torch
    >>> result = gamma_method(torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)))
    >>> round(result.tau, 1)
    0.5
    """
    chains = torch.as_tensor(chains)
    if chains.ndim != 2 or chains.is_complex() or not chains.shape[1]:
        raise InputError("real numbers along chains, (draws, K)", f"{tuple(chains.shape)}, {chains.dtype}")
    n, k = chains.shape
    if n < MIN_DRAWS:
        raise InputError(f"at least {MIN_DRAWS} draws of each chain", str(n))
    if not chains.isfinite().all():
        raise InputError("finite draws", f"{int((~chains.isfinite()).sum())} that are infinite or NaN")
    total = n * k
    values = chains.double().cpu()
    centred = values - values.mean()
    if centred.abs().max() <= ROUNDING * values.abs().max():
        return GammaResult(0.0, 0.5, 0.0, 0)
    spectrum = torch.fft.rfft(centred, n=2 * n, dim=0)
    sums = torch.fft.irfft(spectrum.abs().square(), n=2 * n, dim=0)[:n].sum(1)
    gamma = sums / (k * (n - torch.arange(n, dtype=torch.float64)))
    window = _window(gamma, total)
    summed = gamma[0] + 2 * gamma[1 : window + 1].sum()
    gamma = gamma + summed / total
    least = gamma[0] / math.log10(10 * total)  # anticorrelations that so few draws cannot establish
    summed = torch.maximum(gamma[0] + 2 * gamma[1 : window + 1].sum(), least)
    tau = (summed / (2 * gamma[0])).item()
    tau_error = tau * math.sqrt(4 / total * max(0.5, window + 0.5 - tau))
    return GammaResult(math.sqrt(summed.item() / total), tau, tau_error, window)


def _window(gamma: Tensor, total: int) -> int:
    """The last lag in the sum of autocorrelations (Wolff's Eq. 50 to 52 for `total` draws, or Geyer's sequence)."""
    if gamma[1] < 0:  # pairs of neighbouring lags that are positive and decrease
        pairs = gamma[: len(gamma) // 4 * 2].unflatten(0, (-1, 2)).sum(1)
        keeps = (pairs > 0) & (pairs <= pairs.cummin(0).values)
        return 2 * max(1, int(keeps.long().cumprod(0).sum())) - 1
    running = (gamma[: len(gamma) // 2] / gamma[0]).cumsum(0)[1:] - 0.5
    decay = (DECAY_RATIO / ((2 * running + 1) / (2 * running - 1)).log()).where(running > 0.5, 1e-9)
    lags = torch.arange(1, len(running) + 1)
    balanced = lags[(-lags / decay).exp() < decay / (lags * total).sqrt()]
    return int(balanced[0]) if len(balanced) else max(1, len(running))


def r_hat(chains: Tensor, folded: bool = True) -> Tensor:
    """Rank-normalised split R-hat of chains: (d,) from (draws, K, d); NaN for constants and too few draws.

    The halves of each chain are compared; of a single chain, the quarters, since R-hat takes two chains at least. It is
    the larger one of the R-hat of the values, and of their distances from the median, the folded values; without
    `folded` that of the values alone.
    """
    half = chains.shape[0] // 2
    if chains.shape[1] == 1:
        chains = torch.cat([chains[:half], chains[half : 2 * half]], 1)
    return _diagnose("rhat", chains, method="rank" if folded else "z_scale")


def r_hat_by_chance(chains: Tensor, folded: bool = True) -> float:
    r"""The R-hat below which 999 in 1,000 sets of independent chains of a quantity stay, (draws, K).

    Of m halves of n draws with an autocorrelation time :math:`\tau` within them, the variance of the means relative to
    that of the draws is :math:`2 \tau / n` times a variable :math:`\chi^2_{m-1} / (m - 1)`, which adds to
    :math:`\hat R^2`. The halves of a single chain are halved again, as in `r_hat`. Values and folded values have
    autocorrelation times of their own: the result is for the larger R-hat, of those that exceed theirs if there are
    any. It is inf for too few draws.
    """
    from scipy.stats import chi2, rankdata

    parts = 2 if chains.shape[1] > 1 else 4
    n = len(chains) // parts
    if n < MIN_DRAWS:
        return math.inf
    halves = torch.cat([chains[i * n : (i + 1) * n] for i in range(parts)], 1).double().cpu()
    found = []
    for values in (halves, (halves - halves.median()).abs())[: 1 + folded]:
        ranks = torch.from_numpy(np.asarray(rankdata(values.numpy()))).view_as(values)
        scores = torch.special.ndtri((ranks - 3 / 8) / (ranks.numel() + 1 / 4))
        gamma = gamma_method(scores - scores.mean(0))
        # short chains underestimate tau, even more so as the mean of each half is subtracted
        tau = (gamma.tau + 2 * gamma.tau_error) / max(0.1, 1 - (2 * gamma.window + 1) / n)
        m = values.shape[1]
        level = math.sqrt(1 + 2 * tau / n * float(chi2.ppf(0.999, m - 1)) / (m - 1))
        found.append((float(_diagnose("rhat", scores[..., None], method="identity")), level))
    return max([pair for pair in found if pair[0] > pair[1]] or found)[1]


def effective_size(chains: Tensor) -> Tensor:
    """The number of independent draws with the error of the mean of chains: (d,) from (draws, K, d), at most draws * K.

    Anticorrelated draws may have a smaller error than independent ones; a few draws cannot establish that.
    """
    return _diagnose("ess", chains, method="mean").clamp(max=chains.shape[0] * chains.shape[1])


def _diagnose(name: str, chains: Tensor, **options: Any) -> Tensor:
    """A diagnostic of the library ArviZ, imported late since it takes a second."""
    from arviz_stats.base import array_stats

    with np.errstate(all="ignore"):  # constants give NaN
        values = chains.detach().double().cpu().numpy()
        return torch.from_numpy(np.asarray(getattr(array_stats, name)(values, chain_axis=1, draw_axis=0, **options)))


def along(values: Tensor, folded: bool = True) -> dict[str, Any]:
    """Diagnose a quantity along chains, (draws, K): figures of a verdict, and `gamma`; `folded` is for `r_hat`."""
    gamma = gamma_method(values)
    found = float(r_hat(values[..., None], folded)) if gamma.error else 1.0  # R-hat of a constant is 1
    longest = gamma.tau + 2 * gamma.tau_error  # a short chain may underestimate it
    by_chance = r_hat_by_chance(values, folded) if found >= MIXED else math.inf
    times = len(values) / longest
    return {"gamma": gamma, "r_hat": found, "by_chance": by_chance, "times": times, "draws": values.numel()}


def frozen_chains(values: Tensor, acceptance: float) -> int:
    """The number of chains (draws, K) whose values never change, where chance alone does not explain it.

    If all chains are frozen, the acceptance rate says so.
    """
    frozen = int((values == values[0]).all(0).sum())
    is_chance = values.shape[1] * (1 - acceptance) ** len(values) > FROZEN_BY_CHANCE
    return 0 if is_chance or frozen == values.shape[1] else frozen


@dataclass(frozen=True)
class Averaging:
    """A rule for the average of draws and its standard error, of draws along chains (draws, K) or with weights (n,).

    Args:
        weights: the weights of the draws, with sum 1, (n,); None for draws that count alike.
        groups: the number of independent groups of successive draws with weights: the populations, or the samples.
        by_spread: whether errors come from the spread of the groups, or of the means of the chains, times `student`,
            rather than by the Gamma method, which does not see correlations that are weak and slow.
    """

    weights: Tensor | None = None
    groups: int = 1
    by_spread: bool = False

    def average(self, values: Tensor) -> Tensor:
        """The mean of all draws."""
        return values.mean() if self.weights is None else self.weights @ values

    def error(self, centred: Tensor) -> float:
        """The standard error from the values less their average, by linear expansion; NaN where one weight decides."""
        if self.weights is not None:
            if 1 / self.weights.square().sum() < MIN_EFFECTIVE:
                return math.nan
            centred = (len(centred) * self.weights * centred).unflatten(0, (self.groups, -1)).mT
        if self.by_spread and (k := centred.shape[1]) > 1:
            return centred.mean(0).std().item() / math.sqrt(k) * student(k)
        return gamma_method(centred).error


@lru_cache
def student(n: int, coverage: float = 0.6827) -> float:
    """The number of standard errors from n values within which a mean lies so often, by Student's t.

    >>> round(student(4), 2), round(student(1000), 2)
    (1.2, 1.0)
    """
    from scipy.stats import t

    return float(t.ppf((1 + coverage) / 2, n - 1))
