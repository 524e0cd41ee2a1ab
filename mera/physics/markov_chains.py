"""The result of Markov chains: fields, observables with errors that count autocorrelations, and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mera.chains.diagnostics import MIXED, split_r_hat
from mera.chains.gamma import gamma_method
from mera.display.notebook import Pictured
from mera.display.table import Table
from mera.physics.observables import Observables, Quantity, summarize


@dataclass(frozen=True, repr=False)
class MarkovChains(Pictured):
    """What several chains side by side have measured.

    Args:
        fields: the last field of each chain, (K, C, *shape).
        history: by name the observables along the chains, (draws, K); see `Observables`.
        observables: by name the value and its standard error, which counts autocorrelations.
        tau: by name the integrated autocorrelation time in draws, 1/2 for independent ones.
        tau_error: its standard error.
        r_hat: by name split R-hat over the chains: above 1.05, the chains do not agree yet.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        acceptance: the acceptance rate; for `cone_monte_carlo` a rate for each level, finest first, and NaN for levels
            that are not updated.
        seconds: the seconds that all draws together took, without the warm-up.
        steps: the step sizes, where the sampler tuned some.
        log_weights: for samplers that know the density q of the flow, -S - ln q along the chains, (draws, K).
    """

    fields: Tensor
    history: Mapping[str, Tensor]
    observables: Mapping[str, Quantity]
    tau: Mapping[str, float]
    tau_error: Mapping[str, float]
    r_hat: Mapping[str, float]
    correlator: tuple[Tensor, Tensor] | None
    acceptance: Any
    seconds: float
    steps: Any = None
    log_weights: Tensor | None = field(default=None, repr=False)

    @property
    def table(self) -> Table:
        """A row for each observable: value, autocorrelation time and R-hat."""
        rows = []
        for name, quantity in self.observables.items():
            tau = f"{self.tau[name]:.3g} +- {self.tau_error[name]:.2g}" if name in self.tau else ""
            rows.append((name, str(quantity), tau, f"{self.r_hat[name]:.3f}" if name in self.r_hat else ""))
        return Table(["observable", "value", "autocorrelation time", "R-hat"], rows)

    def __repr__(self) -> str:
        """The table as text, and below it the numbers of draws and chains, and the acceptance."""
        draws, chains = next(iter(self.history.values())).shape
        verdict = "" if max(self.r_hat.values()) < MIXED else "; the chains do not agree yet (R-hat)"
        rates = self.acceptance if isinstance(self.acceptance, Sequence) else [self.acceptance]
        if not any(rate > 0 for rate in rates):
            verdict = "; the chains do not move, and errors mean nothing"
        accepted = ", ".join("-" if math.isnan(rate) else f"{rate:.2f}" for rate in rates)
        return f"{self.table}\n{draws:,} draws of {chains} chains in {self.seconds:.3g} s, accepted {accepted}{verdict}"


class Recorder:
    """Collects the observables along chains.

    Args:
        observables: what is measured.
    """

    def __init__(self, observables: Observables) -> None:
        self.observables = observables
        self._parts: list[dict[str, Tensor]] = []
        self._log_weights: list[Tensor] = []

    def add(self, phi: Tensor, action: Tensor | None = None, log_weights: Tensor | None = None) -> None:
        """Measure the fields of all chains.

        Args:
            phi: the fields, (K, C, *shape).
            action: their actions (K,), if they are known.
            log_weights: the logarithms of their weights (K,), if they are known.
        """
        self._parts.append(self.observables.measure(phi, action))
        if log_weights is not None:
            self._log_weights.append(log_weights.double().cpu())

    def chain(self, phi: Tensor, acceptance: Any, seconds: float, steps: Any = None) -> MarkovChains:
        """The result.

        Args:
            phi: the last fields, (K, C, *shape).
            acceptance: the acceptance rate or rates.
            seconds: the seconds that all draws took.
            steps: the step sizes.
        """
        series = {name: torch.stack([part[name] for part in self._parts]) for name in self._parts[0]}
        shape = phi.shape[2:]
        found, correlator = summarize(
            series,
            self.observables.derived(math.prod(shape), max(shape)),
            lambda values: values.mean(),
            lambda centred: gamma_method(centred).error,
        )
        history = {name: values for name, values in series.items() if values.ndim == 2 and not name.startswith("_")}
        gammas = {name: gamma_method(values) for name, values in history.items()}
        return MarkovChains(
            phi,
            history,
            found,
            {name: gamma.tau for name, gamma in gammas.items()},
            {name: gamma.tau_error for name, gamma in gammas.items()},
            {
                name: split_r_hat(values[..., None]).nan_to_num(nan=1.0, posinf=math.inf).item()
                for name, values in history.items()
            },
            correlator,
            acceptance,
            seconds,
            steps,
            torch.stack(self._log_weights) if self._log_weights else None,
        )
