"""Verdicts: how far averages and their errors can be trusted, and why; for weights, from the tail of the weights."""

from __future__ import annotations

import math
import warnings
from enum import IntEnum

import numpy as np
from torch import Tensor

from mera.sampling.annealing import effective_number

GOOD, USABLE = 0.5, 0.7
"""Pareto k below which weights have a finite variance, and below which errors are still usable."""
MIN_SAMPLES = 100
"""The least number of samples from which the tail of the weights can be judged."""
MISSED_NATS = 5.0
"""A field of the target counts as missed by the flow if its log-weight exceeds the largest log-weight of the samples by
this many nats."""
MIN_EFFECTIVE = 2
"""The effective number of samples below which a single weight decides, and errors are unknown."""
EQUAL_NATS = 1e-9
"""Weights count as equal if their logarithms differ by less."""
ESS_RATIO = 2.0
"""The ratio of the effective sample sizes from samples and from fields of the target that is reported."""


class Trust(IntEnum):
    """How far averages and their errors can be trusted, the least first."""

    WRONG = 0
    MEANINGLESS = 1
    TOO_SMALL = 2
    PERHAPS_TOO_SMALL = 3
    ROUGH = 4
    USABLE = 5
    GOOD = 6


WORDS = {
    Trust.WRONG: "averages are wrong",
    Trust.MEANINGLESS: "errors mean nothing",
    Trust.TOO_SMALL: "errors are too small",
    Trust.PERHAPS_TOO_SMALL: "errors may be too small",
    Trust.ROUGH: "errors are rough",
    Trust.USABLE: "errors are usable",
    Trust.GOOD: "errors can be trusted",
}


class Verdict(str):
    """How far averages and errors can be trusted, and the reason; it is the sentence that says so.

    >>> verdict = Verdict(Trust.ROUGH, "there are 20 draws")
    >>> verdict, verdict.trust < Trust.GOOD
    ('errors are rough: there are 20 draws', True)
    """

    __slots__ = ("reason", "trust")
    trust: Trust
    reason: str

    def __new__(cls, trust: Trust, reason: str) -> Verdict:
        """Make the sentence."""
        verdict = super().__new__(cls, f"{WORDS[trust]}: {reason}")
        verdict.trust, verdict.reason = trust, reason
        return verdict

    def __getnewargs__(self) -> tuple[Trust, str]:  # type: ignore[override]
        """Copy and pickle with trust and reason."""
        return self.trust, self.reason

    def warn(self, stacklevel: int = 3) -> None:
        """Warn if averages are wrong, or errors mean nothing."""
        if self.trust <= Trust.MEANINGLESS:
            warnings.warn(f"The {self}", stacklevel=stacklevel)


def finite_log_weights(log_weights: Tensor) -> Tensor:
    """Return log-weights, and raise a `FloatingPointError` for NaN or an infinite weight; a weight of 0 is allowed."""
    wrong = log_weights.isnan() | (log_weights == math.inf)
    if wrong.any():
        raise FloatingPointError(f"Expected finite weights; got others for {int(wrong.sum())} of {len(wrong)} samples")
    return log_weights


def pareto_k(log_weights: Tensor) -> float:
    r"""The shape k of the generalised Pareto distribution of the largest weights.

    Weights have finite moments of an order below :math:`1 / k` only (Vehtari et al., https://arxiv.org/abs/1507.02646).

    Args:
        log_weights: the logarithms of the weights of samples, (n,).

    Returns:
        k; NaN for fewer than 100 samples, and 0 for equal weights, which have no tail.
    """
    values = log_weights.detach().double().cpu()
    values = values[values > -math.inf]
    if len(values) < MIN_SAMPLES:
        return math.nan
    if values.max() - values.min() < EQUAL_NATS:
        return 0.0
    from arviz_stats.base import array_stats

    with np.errstate(all="ignore"):  # of smoothed weights, which are not used
        return float(array_stats.psislw(-values.numpy())[1])  # its argument is a log-likelihood


def forward_ess(log_weights: Tensor) -> float:
    r"""The effective sample size of a flow, from 0 to 1, from log-weights of fields of the target, (N,).

    With averages over the target, it is :math:`1 / (\langle w \rangle \langle 1 / w \rangle)`
    (Nicoli et al. 2023, https://arxiv.org/abs/2302.14082). Regions that samples of the flow miss lower it.
    """
    w = log_weights.double()
    return math.exp(min(0.0, 2 * math.log(len(w)) - (w.logsumexp(0) + (-w).logsumexp(0)).item()))


def missed(fields: Tensor, samples: Tensor) -> float:
    """The fraction of fields of the target in regions where a flow has no samples, from the log-weights of both."""
    return (fields.cpu() > samples.cpu().max() + MISSED_NATS).double().mean().item()


def verdict_on_weights(log_weights: Tensor, k: float, forward: tuple[float, float] | None = None) -> Verdict:
    """Whether averages from log-weights (n,) with a Pareto k, and the errors of the averages, can be trusted.

    From fields of the target, `forward` has the fraction that the flow misses, and `forward_ess`; None without fields.
    """
    n_effective = effective_number(log_weights).item()
    if forward is not None and forward[0] > 0:
        return Verdict(Trust.WRONG, f"the flow misses {100 * forward[0]:.3g} % of the fields of the target")
    if math.isnan(k):
        reason = f"fewer than {MIN_SAMPLES} samples with a weight do not show the tail of the weights"
        return Verdict(Trust.MEANINGLESS, reason)
    if k >= USABLE:
        return Verdict(Trust.MEANINGLESS, f"the weights have too heavy a tail (Pareto k {k:.2f}, above {USABLE})")
    if n_effective < MIN_EFFECTIVE:
        return Verdict(Trust.MEANINGLESS, f"there are {n_effective:.3g} effective samples")
    if n_effective < MIN_SAMPLES:
        return Verdict(Trust.ROUGH, f"there are {n_effective:.3g} effective samples, below {MIN_SAMPLES}")
    if forward is not None and forward[1] * ESS_RATIO < n_effective / len(log_weights):
        return Verdict(Trust.TOO_SMALL, f"fields of the target give an ESS of {forward[1]:.2g}")
    if k >= GOOD:
        return Verdict(Trust.USABLE, f"they may be too small (Pareto k {k:.2f}, between {GOOD} and {USABLE})")
    compared = "" if forward is not None else "; no fields of the target were compared, so a missed mode would not show"
    return Verdict(Trust.GOOD, f"Pareto k is {k:.2f}, below {GOOD}{compared}")


def is_upper_estimate(k: float) -> bool:
    """Whether an effective sample size is an upper estimate: more samples would find larger weights."""
    return not k < GOOD


def format_ess(ess: float, k: float) -> str:
    """An effective sample size as text, "<= 0.2380" for an upper estimate."""
    return f"{'<= ' if is_upper_estimate(k) else ''}{ess:.4f}"
