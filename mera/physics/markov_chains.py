"""The result of Markov chains: fields, observables with errors from the Gamma method, and diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mera._utils.table import Table
from mera.physics.measured import Measured
from mera.physics.observables import averages_of, histories, summarize
from mera.physics.storage import Arrays, named
from mera.physics.verdicts import Trust, Verdict
from mera.sampling.diagnostics import MIXED, gamma_method, r_hat

LONG, ROUGH = 20, 50
"""The number of autocorrelation times in a chain from which its autocorrelation time can be trusted, and the number of
draws of all chains below which errors are rough."""


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
    """

    tau: Mapping[str, float]
    tau_error: Mapping[str, float]
    r_hat: Mapping[str, float]
    acceptance: float
    seconds: float

    @property
    def table(self) -> Table:
        """A table with a row for each observable: value, autocorrelation time and R-hat."""
        rows = []
        n_effective = next(iter(self.history.values())).numel() / (2 * max(self.tau.values()))
        for name, quantity in self.observables.items():
            diagnostics = ["", ""]
            if name in self.tau:
                diagnostics = [f"{self.tau[name]:.3g} +- {self.tau_error[name]:.2g}", f"{self.r_hat[name]:.3f}"]
            rows.append((name, quantity.text(n_effective), *diagnostics))
        return Table(["observable", "value", "autocorrelation time", "R-hat"], rows)

    @property
    def verdict(self) -> Verdict:  # type: ignore[override]
        """Whether averages and errors can be trusted."""
        slowest = max(self.tau, key=lambda name: self.tau[name])
        apart = max(self.r_hat, key=lambda name: self.r_hat[name])
        draws, chains = self.history[slowest].shape
        longest = self.tau[slowest] + 2 * self.tau_error[slowest]  # a short chain may underestimate it
        if not self.acceptance > 0:
            return Verdict(Trust.MEANINGLESS, "the chains do not move")
        if self.r_hat[apart] >= MIXED:
            reason = f"the chains do not agree yet (R-hat {self.r_hat[apart]:.2f} of {apart})"
            return Verdict(Trust.MEANINGLESS, reason)
        if draws < LONG * longest:
            reason = f"a chain may have only {draws / longest:.0f} autocorrelation times of {slowest}"
            return Verdict(Trust.PERHAPS_TOO_SMALL, reason)
        if draws * chains < ROUGH:
            return Verdict(Trust.ROUGH, f"there are {draws * chains} draws, below {ROUGH}")
        alone = "; a single chain does not show what it misses" if chains == 1 else ""
        return Verdict(Trust.GOOD, f"R-hat is below {MIXED}, with {LONG} autocorrelation times or more{alone}")

    def __repr__(self) -> str:
        """The table as text, followed by the numbers of draws and chains, the acceptance rate, and the verdict."""
        draws, chains = next(iter(self.history.values())).shape
        counts = f"{draws:,} draws of {chains} chains in {self.seconds:.3g} s, accepted {self.acceptance:.2f}"
        return f"{self.table}\n{counts}\n{self.verdict}"


def chains_of(facts: Mapping[str, Any], arrays: Arrays) -> MarkovChains:
    """Summarise what `record` has recorded of chains: the facts, the series and the last state."""
    series = named(arrays, "series/")
    rates, fields = series.pop("_rates"), series.pop("_fields").flatten(0, 1)
    log_weights, _ = series.pop("_log_weights", None), series.pop("_field_log_weights", None)
    functions = averages_of(facts["shape"][1:], facts["periodic"], facts["inverse_temperature"])
    quantities, correlator = summarize(series, functions, torch.mean, lambda centred: gamma_method(centred).error)
    history = histories(series, 2)
    gammas = {name: gamma_method(values) for name, values in history.items()}
    moving = [name for name, gamma in gammas.items() if gamma.error]  # R-hat of a constant is 1
    r_hats = dict(zip(moving, r_hat(torch.stack([history[name] for name in moving], 2)), strict=True)) if moving else {}
    return MarkovChains(
        fields=fields if len(fields) else arrays["last"],
        history=history,
        observables=quantities,
        tau={name: gamma.tau for name, gamma in gammas.items()},
        tau_error={name: gamma.tau_error for name, gamma in gammas.items()},
        r_hat={name: float(r_hats.get(name, 1.0)) for name in history},
        correlator=correlator,
        acceptance=rates.mean().item(),
        seconds=float(arrays["seconds"]),
        log_weights=log_weights,
    )
