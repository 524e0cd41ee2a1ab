"""Verdicts on averages of weighted samples: from the tail of the weights, fields of the target, and symmetries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mera.sampling.annealing import effective_number
from mera.sampling.verdict import Trust, Verdict

GOOD_K, USABLE_K = 0.5, 0.7
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
FAR_ABOVE = 3.0
"""A field of the target whose action is so many standard deviations above that of others is in another state, whose
weight a short run does not tell."""
ERROR_RATIO = 1.5
"""The ratio of the errors from fields of the target and from samples from which the latter are too small."""
ESS_RATIO = 2.0
"""The ratio of the effective sample sizes from samples and from fields of the target that is reported."""


FORBIDDEN = 5.0
"""The number of errors from which an average that a symmetry forbids differs from 0."""


def verdict_on_zero(value: float, error: float, otherwise: Verdict) -> Verdict:
    """The verdict on an average that a symmetry of the action forbids: wrong if it differs from 0 by five errors."""
    if not abs(value) > FORBIDDEN * error or otherwise.trust <= Trust.TOO_FEW:  # whose error means nothing
        return otherwise
    far = f"{abs(value) / error:.3g} errors" if error > 0 else f"{abs(value):.3g}"
    remedy = "sample all images of a field under the symmetry (mera.Symmetrized)"
    return Verdict(Trust.WRONG, f"an average that a symmetry of the action forbids is {far} from 0; {remedy}")


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
        k; NaN for fewer than 100 samples, and 0 if the largest weights are equal, which have no tail.
    """
    values = log_weights.detach().double().cpu()
    values = values[values > -math.inf]
    if len(values) < MIN_SAMPLES:
        return math.nan
    if values.max() - values.min() < EQUAL_NATS:
        return 0.0
    from arviz_stats.base import array_stats

    with np.errstate(all="ignore"):  # of smoothed weights, which are not used
        try:
            return float(array_stats.psislw(-values.numpy())[1])  # its argument is a log-likelihood
        except ValueError:  # the largest weights are all equal
            return 0.0


def forward_ess(log_weights: Tensor) -> float:
    r"""The effective sample size of a flow, from 0 to 1, from log-weights of fields of the target, (N,).

    With averages over the target, it is :math:`1 / (\langle w \rangle \langle 1 / w \rangle)`
    (Nicoli et al. 2023, https://arxiv.org/abs/2302.14082). Regions that samples of the flow miss lower it.
    """
    w = log_weights.double()
    return math.exp(min(0.0, 2 * math.log(len(w)) - (w.logsumexp(0) + (-w).logsumexp(0)).item()))


@dataclass(frozen=True)
class Forward:
    """Samples of a flow as fields of the target show them.

    Args:
        missed: the fraction of the fields that lie where the flow has no samples.
        ess: the effective sample size from the fields, 0 to 1; see `forward_ess`.
        above: the fraction of all fields that is left out of both, as their actions are far above those of the others:
            chains from some starts stay in states, such as domains, whose weight a short run does not tell.
        nats: how far these actions are above the others, in the mean.
        series: the log-weights and observables of the fields that are not left out, by name, (N,) each.
    """

    missed: float
    ess: float
    above: float = 0.0
    nats: float = 0.0
    series: Mapping[str, Tensor] = field(default_factory=dict)

    def error_ratio(self, name: str, mean: float, error: float, n: int, mean_log_weight: float) -> float:
        r"""The error of an average over n samples of a flow by fields of the target, as a multiple of its error.

        The variance of the weighted average of O is :math:`\langle w^2 (O - \bar O)^2 \rangle_q / n`, which is
        :math:`\langle w (O - \bar O)^2 \rangle_p / n` over the target, for weights with the mean 1; that of chains of
        proposals is no smaller. Samples that miss a tail, where few of them have large weights, underestimate it;
        fields of the target lie there. The ratio is 1 for an observable that was not measured on the fields.
        """
        if name not in self.series or not error > 0:
            return 1.0
        weights = (self.series["log_weights"] - mean_log_weight).exp()
        return math.sqrt((weights * (self.series[name] - mean).square()).mean().item() / n) / error


def forward_of(target: Mapping[str, Sequence[float]] | None, log_weights: Tensor) -> Forward | None:
    """Compare fields of the target with samples of a flow, by the log-weights of both and the actions of the fields.

    The `target` has log-weights, actions and observables of the fields by name; None if there are no fields.
    """
    if not target:
        return None
    series = {name: torch.tensor(values, dtype=torch.float64) for name, values in target.items()}
    actions = series["actions"]
    is_missed = series["log_weights"] > log_weights.max() + MISSED_NATS
    known = actions[~is_missed]
    above = torch.zeros_like(is_missed)
    if len(known) > 1:
        above = is_missed & (actions > known.mean() + FAR_ABOVE * known.std())
    nats = (actions[above].mean() - known.mean()).item() if above.any() else 0.0
    kept = {name: values[~above] for name, values in series.items()}
    missed, share = is_missed[~above].double().mean().item(), above.double().mean().item()
    return Forward(missed, forward_ess(kept["log_weights"]), share, nats, kept)


def verdict_on_weights(log_weights: Tensor, k: float, forward: Forward | None = None) -> Verdict:
    """Return whether averages from log-weights (n,) with a Pareto k, and the errors of the averages, can be trusted.

    `forward` compares the samples with fields of the target; None without fields.
    """
    n_effective = effective_number(log_weights).item()
    if forward is not None and forward.missed > 0:
        return Verdict(Trust.WRONG, f"the flow misses {100 * forward.missed:.3g} % of the fields of the target")
    if math.isnan(k):
        reason = f"fewer than {MIN_SAMPLES} samples with a weight do not show the tail of the weights"
        return Verdict(Trust.MEANINGLESS, reason)
    if k >= USABLE_K:
        return verdict_on_tail(k, len(log_weights))
    if n_effective < MIN_EFFECTIVE:
        return Verdict(Trust.MEANINGLESS, f"there are {n_effective:.3g} effective samples")
    if n_effective < MIN_SAMPLES:
        return Verdict(Trust.ROUGH, f"there are {n_effective:.3g} effective samples, below {MIN_SAMPLES}")
    if forward is not None and forward.ess * ESS_RATIO < n_effective / len(log_weights):
        return Verdict(Trust.TOO_SMALL, f"fields of the target give an ESS of {forward.ess:.2g}")
    above = ""
    if forward is not None and forward.above:
        above = f"; {100 * forward.above:.3g} % of the fields of chains, {forward.nats:.3g} nats above, were left out"
    return verdict_on_terms(Verdict(Trust.GOOD, f"Pareto k is {k:.2f}, below {GOOD_K}{above}"), k)


def verdict_on_terms(otherwise: Verdict, k: float, ratio: float = 1.0) -> Verdict:
    """The verdict on a weighted average of an observable, by that on the weights and the Pareto k of its terms.

    Terms of a heavier tail than that of the weights need more draws (Vehtari et al., https://arxiv.org/abs/1507.02646).
    The `ratio` is the `error_ratio` by fields of the target.
    """
    if k >= USABLE_K and otherwise.trust > Trust.TOO_FEW:
        return Verdict(Trust.TOO_FEW, f"the largest terms decide (Pareto k {k:.2f}, above {USABLE_K})")
    if ratio > ERROR_RATIO and otherwise.trust > Trust.TOO_SMALL:
        return Verdict(Trust.TOO_SMALL, f"fields of the target give an error {ratio:.2g} times as large")
    if k >= GOOD_K and otherwise.trust == Trust.GOOD:
        return Verdict(Trust.USABLE, f"they may be too small (Pareto k {k:.2f}, between {GOOD_K} and {USABLE_K})")
    return otherwise


def verdict_on_tail(k: float, n: int) -> Verdict:
    r"""The verdict on an average over n weights with a Pareto k above 0.7, whose error is about (1 + k) / \sqrt M.

    The tail has the M largest weights, a fifth of all or :math:`3 \sqrt n`.
    """
    error = (1 + k) / math.sqrt(min(n / 5, 3 * math.sqrt(n)))
    if k - error < USABLE_K:
        reason = f"the Pareto k of the weights is {k:.2f} +- {error:.2f}, perhaps above {USABLE_K}"
        return Verdict(Trust.TOO_FEW, reason)
    return Verdict(Trust.MEANINGLESS, f"the weights have too heavy a tail (Pareto k {k:.2f}, above {USABLE_K})")


def format_ess(ess: float, k: float) -> str:
    """An effective sample size as text; "<= 0.2380" where more samples would find larger weights."""
    return f"{'' if k < GOOD_K else '<= '}{ess:.4f}"
