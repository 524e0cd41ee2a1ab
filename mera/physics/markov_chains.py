"""The result of Markov chains: fields, observables with errors from the Gamma method, and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from mera._utils.table import Table
from mera.physics.measured import ChainAverage, Measured, summary
from mera.physics.observables import ROUGH_BELOW
from mera.physics.storage import Arrays, named
from mera.physics.verdicts import USABLE_K, Forward, forward_of, pareto_k, verdict_on_tail, verdict_on_terms
from mera.sampling.diagnostics import MIXED, ROUNDING, GammaResult, gamma_method, r_hat, r_hat_by_chance
from mera.sampling.verdict import Trust, Verdict, least_trusted, verdict_on_agreement

FROZEN_BY_CHANCE = 1e-3
"""The probability below which chance does not explain a chain that never moves at the acceptance rate of all."""
LONG = 20
"""The number of autocorrelation times in a chain from which its autocorrelation time can be trusted."""


@dataclass(frozen=True, repr=False, kw_only=True)
class MarkovChains(Measured):
    """The measurements of several Markov chains, with diagnostics, as a `Measured`: histories are (draws, K).

    Every k-th field of all chains is kept, draw by draw; the last of each chain if none are. Samplers that evaluate the
    density q of a flow have the log-weights -S - ln q, (draws, K).

    Args:
        tau: by name, the integrated autocorrelation time in draws, 1/2 for independent draws.
        tau_error: by name, the standard error of the autocorrelation time.
        r_hat: by name, rank-normalised split R-hat: from 1.05 on, the chains do not agree yet.
        acceptance: the acceptance rate.
        seconds: the time of all draws together in seconds, without the warm-up.
        field_actions: the actions of the fields that are kept by `every`, (m * K,).
    """

    tau: Mapping[str, float]
    tau_error: Mapping[str, float]
    r_hat: Mapping[str, float]
    acceptance: float
    seconds: float
    field_actions: Tensor

    @property
    def table(self) -> Table:
        """A table with a row for each observable: value, autocorrelation time and R-hat."""
        diagnostics = {
            name: (f"{tau:.3g} +- {self.tau_error[name]:.2g}", f"{self.r_hat[name]:.3f}")
            for name, tau in self.tau.items()
        }
        n = next(iter(self.history.values())).numel() / (2 * max(self.tau.values()))
        rows = [(name, value, *diagnostics.get(name, ("", "")), mark) for name, value, mark in self._rows(n)]
        return Table(["observable", "value", "autocorrelation time", "R-hat", ""], rows)

    def __repr__(self) -> str:
        """The table as text, followed by the numbers of draws and chains, the acceptance rate, and the verdict."""
        draws, chains = next(iter(self.history.values())).shape
        counts = f"{draws:,} draws of {chains} chains in {self.seconds:.3g} s, accepted {self.acceptance:.2f}"
        slowest = max(self.tau, key=lambda name: self.tau[name])
        independent = self.seconds * 2 * self.tau[slowest] / (draws * chains)
        return f"{self.table}\n{counts}; {independent:.2g} s for an independent draw of {slowest}\n{self.verdict}"


class Judged(NamedTuple):
    """The diagnostics of a quantity along chains, and the verdict on it."""

    gamma: GammaResult
    r_hat: float
    verdict: Verdict


def judged(
    values: Tensor, acceptance: float, log_weights: Tensor | None = None, forward: Forward | None = None,
    name: str = "", **agreement: bool,
) -> Judged:  # fmt: skip
    """Judge the average of a quantity along chains, (draws, K), and for proposals of a flow by log-weights, (draws, K).

    Fields of the target may show that the error of an observable, by its name, is too small. `agreement` has options of
    `r_hat`.

    The variance of an average of O over such proposals is about that of the weighted average of O, the mean of
    :math:`w O^2` over the target. A tail of shape k over samples of the flow is one of :math:`k / (1 - k)` over the
    target.
    """
    gamma, (draws, chains) = gamma_method(values), values.shape
    found = float(r_hat(values[..., None], **agreement)) if gamma.error else 1.0  # R-hat of a constant is 1
    longest = gamma.tau + 2 * gamma.tau_error  # a short chain may underestimate it
    if not acceptance > 0:
        verdict = Verdict(Trust.MEANINGLESS, "the chains do not move")
    elif log_weights is not None and (k := _k_of_flow(log_weights)) >= USABLE_K:
        verdict = verdict_on_tail(k, values.numel())
    elif found >= MIXED and (apart := verdict_on_agreement(found, r_hat_by_chance(values, **agreement))):
        verdict = apart
    elif draws < LONG * longest:
        reason = f"a chain may have only {draws / longest:.0f} autocorrelation times"
        verdict = Verdict(Trust.PERHAPS_TOO_SMALL, reason)
    elif draws * chains < ROUGH_BELOW:
        verdict = Verdict(Trust.ROUGH, f"there are {draws * chains} draws, below {ROUGH_BELOW}")
    else:
        verdict = Verdict(Trust.GOOD, f"R-hat is below {MIXED}, with {LONG} autocorrelation times or more")
    if log_weights is not None:
        mean_log_weight, ratio = math.log(values.numel()) - (-log_weights).flatten().logsumexp(0).item(), 1.0
        if forward is not None:
            ratio = forward.error_ratio(name, values.mean().item(), gamma.error, values.numel(), mean_log_weight)
        verdict = verdict_on_terms(verdict, _k_of_flow(log_weights + 2 * values.abs().log()), ratio)
    return Judged(gamma, found, verdict)


def _of_one_phase(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts on averages along chains, which can be trusted only if the chains agree in all of them.

    Chains that stay in different phases show the averages of both in proportions that are not known, also of an
    observable that differs too little between the phases for its own R-hat to see.
    """
    apart = [name for name in verdicts if verdicts[name].trust == Trust.MEANINGLESS and not name.startswith("_")]
    if not apart:
        return dict(verdicts)
    doubtful = Verdict(Trust.PERHAPS_TOO_SMALL, f"the chains do not agree in {apart[0]}")
    return {name: least_trusted(doubtful, verdict) for name, verdict in verdicts.items()}


def _frozen(series: Mapping[str, Tensor], acceptance: float) -> int:
    """The number of chains that never moved, where chance alone does not explain it.

    A chain that does not move keeps its phi^2, or its energy for angles, whose phi^2 is 1; signs do not change these.
    """
    values = series["energy" if series["phi2"].max() - series["phi2"].min() < ROUNDING else "phi2"]
    frozen = int((values == values[0]).all(0).sum())
    is_chance = values.shape[1] * (1 - acceptance) ** len(values) > FROZEN_BY_CHANCE
    return 0 if is_chance or frozen == values.shape[1] else frozen


def _k_of_flow(log_values: Tensor) -> float:
    """The Pareto k over samples of a flow of values over the target, (draws, K)."""
    k = pareto_k(log_values.flatten())
    return k / (1 + k) if k > 0 else k


def chains_of(facts: Mapping[str, Any], arrays: Arrays) -> MarkovChains:
    """Summarise what `record` has recorded of chains: the facts, the series and the last state."""
    series = named(arrays, "series/")
    rates, fields = series.pop("_rates"), series.pop("_fields").flatten(0, 1)
    field_actions = series.pop("_field_actions")
    log_weights, _ = series.pop("_log_weights", None), series.pop("_field_log_weights", None)
    acceptance = rates.mean().item()
    forward = None if log_weights is None else forward_of(facts.get("target"), log_weights)
    signed = facts.get("zero", ()) if facts.get("sampler") == "hmc" else ()  # random signs; see the rows of |m| and m^2
    along = {
        name: judged(values, acceptance, log_weights, forward, name, **({"folded": False} if name in signed else {}))
        for name, values in series.items() if values.ndim == 2
    }  # fmt: skip
    verdicts = _of_one_phase({name: result.verdict for name, result in along.items()})
    doubts = []
    if frozen := _frozen(series, acceptance):
        doubts.append(Verdict(Trust.MEANINGLESS, f"{frozen} of {series['phi2'].shape[1]} chains never moved"))
    if not facts.get("dispersed", True):
        reason = "the fields of `start` are too much alike to show a phase that none of them is in"
        doubts.append(Verdict(Trust.PERHAPS_TOO_SMALL, reason))
    verdicts = {name: least_trusted(*doubts, verdict) for name, verdict in verdicts.items()}
    along = {name: result for name, result in along.items() if not name.startswith("_")}
    return MarkovChains(
        **summary(facts, series, ChainAverage(), verdicts),
        fields=fields if len(fields) else arrays["last"],
        tau={name: result.gamma.tau for name, result in along.items()},
        tau_error={name: result.gamma.tau_error for name, result in along.items()},
        r_hat={name: result.r_hat for name, result in along.items()},
        field_actions=field_actions.flatten(),
        acceptance=acceptance,
        seconds=float(arrays["seconds"]),
        log_weights=log_weights,
    )
