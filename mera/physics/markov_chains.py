"""The result of Markov chains: fields, observables with errors from the Gamma method, and diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera.chains.diagnostics import MIXED, split_r_hat
from mera.chains.gamma import gamma_method
from mera.display.notebook import Pictured
from mera.display.progress import ProgressBar, check_console
from mera.display.table import Table
from mera.physics.observables import Average, Observables, Quantity, summarize
from mera.physics.sampler import Recorder, Sampler, Series, advance, histories_in, note, observables_in

if TYPE_CHECKING:
    from rich.console import Console

LONG, FEW = 20, 50
"""The number of autocorrelation times in a chain from which its autocorrelation time can be trusted, and the number of
draws of all chains below which errors are rough."""


@dataclass(frozen=True, repr=False)
class MarkovChains(Pictured):
    """The measurements of several Markov chains, with diagnostics.

    Args:
        fields: the last field of each chain, (K, C, *shape).
        history: by name, the observable along the chains, (draws, K); see `Observables`.
        observables: by name, the value and its standard error, which includes autocorrelations.
        tau: by name, the integrated autocorrelation time in draws, 1/2 for independent draws.
        tau_error: by name, the standard error of the autocorrelation time.
        r_hat: by name, split R-hat over the chains: above 1.05, the chains do not agree yet.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        acceptance: the acceptance rate.
        seconds: the time of all draws together in seconds, without the warm-up.
        step: the tuned step size; None for samplers without a step size.
        log_weights: -S - ln q along the chains, (draws, K), for samplers that evaluate the density q of the flow.
    """

    fields: Tensor
    history: Mapping[str, Tensor]
    observables: Mapping[str, Quantity]
    tau: Mapping[str, float]
    tau_error: Mapping[str, float]
    r_hat: Mapping[str, float]
    correlator: tuple[Tensor, Tensor] | None
    acceptance: float
    seconds: float
    step: float | None = None
    log_weights: Tensor | None = field(default=None, repr=False)

    @property
    def table(self) -> Table:
        """A table with a row for each observable: value, autocorrelation time and R-hat."""
        rows = []
        n_effective = next(iter(self.history.values())).numel() / (2 * max(self.tau.values()))
        for name, quantity in self.observables.items():
            tau = f"{self.tau[name]:.3g} +- {self.tau_error[name]:.2g}" if name in self.tau else ""
            rows.append(
                (name, quantity.text(n_effective), tau, f"{self.r_hat[name]:.3f}" if name in self.r_hat else "")
            )
        return Table(["observable", "value", "autocorrelation time", "R-hat"], rows)

    @property
    def verdict(self) -> str:
        """A sentence that says whether averages and errors can be trusted."""
        slowest = max(self.tau, key=lambda name: self.tau[name])
        apart = max(self.r_hat, key=lambda name: self.r_hat[name])
        draws, chains = self.history[slowest].shape
        longest = self.tau[slowest] + 2 * self.tau_error[slowest]  # a short chain may underestimate it
        if not self.acceptance > 0:
            return "errors mean nothing: the chains do not move"
        if self.r_hat[apart] >= MIXED:
            return f"errors mean nothing: the chains do not agree yet (R-hat {self.r_hat[apart]:.2f} of {apart})"
        if draws < LONG * longest:
            times = draws / longest
            return f"errors may be too small: a chain may have only {times:.0f} autocorrelation times of {slowest}"
        if draws * chains < FEW:
            return f"errors are rough: there are {draws * chains} draws, below {FEW}"
        alone = "; a single chain does not show what it misses" if chains == 1 else ""
        return f"errors can be trusted (R-hat below {MIXED}, and {LONG} autocorrelation times or more{alone})"

    def __repr__(self) -> str:
        """The table as text, followed by the numbers of draws and chains, the acceptance rate, and the verdict."""
        draws, chains = next(iter(self.history.values())).shape
        counts = f"{draws:,} draws of {chains} chains in {self.seconds:.3g} s, accepted {self.acceptance:.2f}"
        return f"{self.table}\n{counts}\n{self.verdict}"


def chains_of(
    series: Series, fields: Tensor, functions: Mapping[str, Average], seconds: float, step: float | None = None
) -> MarkovChains:
    """Summarise the series of a `Recorder`.

    Args:
        series: by name, what was measured, (draws, K, ...).
        fields: the last field of each chain, (K, C, *shape).
        functions: by name, functions of averages; see `averages_of`.
        seconds: the time of all draws together, in seconds.
        step: the tuned step size.
    """
    history = histories_in(series, 2)
    quantities, correlator = summarize(
        observables_in(series), functions, torch.mean, lambda centred: gamma_method(centred).error
    )
    gammas = {name: gamma_method(values) for name, values in history.items()}
    return MarkovChains(
        fields=fields,
        history=history,
        observables=quantities,
        tau={name: gamma.tau for name, gamma in gammas.items()},
        tau_error={name: gamma.tau_error for name, gamma in gammas.items()},
        r_hat={
            name: 1.0 if gammas[name].error == 0 else split_r_hat(values[..., None]).item()  # 1 for a constant
            for name, values in history.items()
        },
        correlator=correlator,
        acceptance=series["_rates"].mean().item(),
        seconds=seconds,
        step=step,
        log_weights=series.get("_log_weights"),
    )


def run(
    sampler: Sampler,
    observables: Observables,
    warmup: int,
    draws: int,
    console: Console | None,
) -> MarkovChains:
    """Run a sampler, and summarise its draws.

    Args:
        sampler: the sampler.
        observables: what is measured on each draw.
        warmup: the number of draws before the measurement, which tune step sizes.
        draws: the number of measured draws.
        console: a rich console for the progress bar; None to show nothing.
    """
    recorder, total = Recorder(observables), warmup + draws
    with ProgressBar(sampler.title, check_console(console)) as progress_bar:
        advance(
            sampler, recorder, warmup, total,
            after=lambda done, rate: progress_bar.update(done, done / total, note(rate)),
        )  # fmt: skip
    fields = sampler.fields.detach().clone()
    return chains_of(recorder.take(), fields, observables.averages(fields.shape[2:]), recorder.seconds, sampler.step)
