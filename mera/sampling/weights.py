"""Weights of samples: effective numbers, the tail of the weights, and what fields of the target show of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

GOOD_K = 0.5
"""Pareto k below which weights have a finite variance."""
MIN_SAMPLES = 100
"""The least number of samples from which the tail of the weights can be judged."""
MISSED_NATS = 5.0
"""A field of the target counts as missed by the flow if its log-weight exceeds the largest log-weight of the samples by
this many nats."""
EQUAL_NATS = 1e-9
"""Weights count as equal if their logarithms differ by less."""
FAR_ABOVE = 3.0
"""A field of the target whose action is so many standard deviations above that of others is in another state, whose
weight a short run does not tell."""


def effective_number(log_weights: Tensor, dim: int = 0) -> Tensor:
    r"""The effective number of weighted samples along the axis `dim`, :math:`(\sum w)^2 / \sum w^2`."""
    return 1 / log_weights.softmax(dim).square().sum(dim)


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

    with np.errstate(all="ignore"):  # warnings on the smoothed weights, which are not used
        try:
            return float(array_stats.psislw(-values.numpy())[1])  # psislw takes log-likelihoods
        except ValueError:  # the largest weights are all equal
            return 0.0


def tail_of(k: float, n: int) -> dict[str, float]:
    r"""The Pareto k of n weights with its error, about :math:`(1 + k) / \sqrt M`, as figures of a verdict.

    The tail has the M largest weights, a fifth of all or :math:`3 \sqrt n`.
    """
    return {"k": k, "k_error": (1 + k) / math.sqrt(min(n / 5, 3 * math.sqrt(n)))}


def k_of_flow(log_values: Tensor) -> float:
    r"""The Pareto k over samples of a flow of values over the target, (draws, K).

    The variance of an average of O over proposals of a flow is about that of the weighted average of O, the mean of
    :math:`w O^2` over the target. A tail of shape k over samples of the flow is one of :math:`k / (1 - k)` over the
    target.
    """
    k = pareto_k(log_values.flatten())
    return k / (1 + k) if k > 0 else k


def format_ess(ess: float, k: float) -> str:
    """An effective sample size as text; "<= 0.2380" where more samples would find larger weights."""
    return f"{'' if k < GOOD_K else '<= '}{ess:.4f}"


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
        above: the fraction of all fields that is left out of both, as their actions are far above those of the others.
        nats: how far these actions are above the others, in the mean.
        series: the log-weights and observables of the fields that are not left out, by name, (N,) each.
    """

    missed: float
    ess: float
    above: float
    nats: float
    series: Mapping[str, Tensor]

    @property
    def seen(self) -> dict[str, float]:
        """The figures of a verdict, shares in percent."""
        return {"missed": 100 * self.missed, "forward_ess": self.ess, "left_out": 100 * self.above, "nats": self.nats}

    def error_ratio(self, name: str, mean: float, error: float, n: int, mean_log_weight: float) -> float:
        r"""The error of an average over n samples of a flow by fields of the target, as a multiple of its error.

        The variance of the weighted average of O is :math:`\langle w^2 (O - \bar O)^2 \rangle_q / n`, which is
        :math:`\langle w (O - \bar O)^2 \rangle_p / n` over the target, for weights with the mean 1. Samples that miss a
        tail underestimate it; fields of the target lie there. The ratio is 1 where it is not known.
        """
        if name not in self.series or not error > 0:
            return 1.0
        weights = (self.series["log_weights"] - mean_log_weight).exp()
        return math.sqrt((weights * (self.series[name] - mean).square()).mean().item() / n) / error


def forward_of(witness: Mapping[str, Tensor], log_weights: Tensor) -> Forward | None:
    """Compare fields of the target with samples of a flow, by the log-weights of both and the actions of the fields.

    The `witness` has log-weights, actions and observables of the fields by name; without log-weights there is None.
    """
    if "log_weights" not in witness:
        return None
    actions = witness["actions"]
    is_missed = witness["log_weights"] > log_weights.max() + MISSED_NATS
    known = actions[~is_missed]
    above = torch.zeros_like(is_missed)
    if len(known) > 1:
        above = is_missed & (actions > known.mean() + FAR_ABOVE * known.std())
    nats = (actions[above].mean() - known.mean()).item() if above.any() else 0.0
    kept = {name: values[~above] for name, values in witness.items()}
    missed, share = is_missed[~above].double().mean().item(), above.double().mean().item()
    return Forward(missed, forward_ess(kept["log_weights"]), share, nats, kept)
