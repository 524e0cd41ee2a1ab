r"""Averages over :math:`e^{-S} / Z` from reweighted samples of a flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_count
from mera.chains.effective_size import effective_number
from mera.density import Density
from mera.display.notebook import Pictured
from mera.display.progress import ProgressBar, check_console
from mera.display.table import Table
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_fields, check_sampled
from mera.physics.observables import Average, Observables, Quantity, summarize
from mera.physics.sampler import Draw, Sampler, State
from mera.physics.verdicts import (
    FEWEST,
    finite_log_weights,
    format_ess,
    forward_ess,
    missed,
    pareto_k,
    verdict_on_weights,
    warn_of,
)

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, repr=False)
class Report(Pictured):
    r"""Results from reweighted samples of a flow.

    Args:
        n: the number of samples.
        ess: the effective sample size as a fraction of n, 0 to 1.
        log_z: the estimate of :math:`\ln Z`.
        log_z_error: the standard error of `log_z`; all errors are NaN if fewer than two samples are effective.
        free_energy: the variational free energy, the mean of :math:`\ln q + S`, an upper bound of :math:`-\ln Z`; it
            exceeds :math:`-\ln Z` by the Kullback-Leibler divergence of the flow.
        observables: by name, the value and the standard error; see `Observables`.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        log_weights: :math:`-S - \ln q` of the samples, (n,).
        pareto_k: the shape of the tail of the weights: below 0.5 errors can be trusted, from 0.7 on they mean nothing;
            NaN for fewer than 100 samples.
        verdict: a sentence that says whether averages and errors can be trusted.
        missed: the fraction of the argument `fields` of `estimate` that the samples miss; None without `fields`.
        forward_ess: the effective sample size from the argument `fields` of `estimate`, 0 to 1; None without `fields`.
    """

    n: int
    ess: float
    log_z: float
    log_z_error: float
    free_energy: Quantity
    observables: Mapping[str, Quantity]
    correlator: tuple[Tensor, Tensor] | None
    log_weights: Tensor
    pareto_k: float
    verdict: str
    missed: float | None = None
    forward_ess: float | None = None

    @property
    def table(self) -> Table:
        """A table with a row for each quantity; errors from few effective samples have one digit."""
        n_effective = self.ess * self.n
        quantities = {"ln Z": Quantity(self.log_z, self.log_z_error), **self.observables}
        rows = [
            ("ESS", f"{format_ess(self.ess, self.pareto_k)} of {self.n:,} samples"),
            ("variational free energy", str(self.free_energy)),
            *((name, quantity.text(n_effective)) for name, quantity in quantities.items()),
        ]
        if self.forward_ess is not None:
            rows.insert(1, ("ESS from fields of the target", f"{self.forward_ess:.4f}"))
        return Table(["quantity", "value"], rows)

    def __repr__(self) -> str:
        """The table as text, followed by the verdict."""
        return f"{self.table}\n{self.verdict}"


@torch.no_grad()
def estimate(
    flow: Density,
    action: ActionLike,
    n: int = 10_000,
    *,
    batch_size: int = 500,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    fields: Tensor | None = None,
    console: Console | None = None,
) -> Report:
    r"""Estimate averages over :math:`e^{-S} / Z` from reweighted samples of a flow.

    Each sample has the weight :math:`w = e^{-S} / q` for the density q of the flow. Averages are exact in the limit of
    many samples for any flow whose weights have a finite variance. With few effective samples, or if the flow misses a
    mode, the averages and their errors are wrong, and `Report.verdict` says so. The tail of the weights (Pareto k)
    shows a variance that is not finite; a mode that no sample reaches is shown by fields of the target from another
    sampler (argument `fields`).

    Args:
        flow: the flow.
        action: the action S, from fields (B, C, *shape) to (B,).
        n: the number of samples.
        batch_size: the number of samples that are drawn in one batch.
        observables: your own observables by name, functions from fields to numbers (B,).
        fields: fields of the target from another sampler, (N, C, *shape), such as `MarkovChains.fields` or
            `short_run`; they show regions that the samples miss.
        console: a rich console for the progress bar; None to show nothing.

    Returns:
        Observables with standard errors, ln Z, the variational free energy, effective sample size and verdict.

    Raises:
        ValueError: if an argument is invalid, or the action lacks a property that it declares.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(8,), prior="gaussian")
    >>> action = physics.FreeField(mass2=1.0)
    >>> _ = mera.train.fit(flow, action, steps=60, lr=1e-2, batch_size=64)
    >>> report = physics.estimate(flow, action, n=1000)
    >>> report.verdict.startswith("errors"), sorted(report.observables)[:3]
    (True, ['abs_m', 'binder', 'correlation_length'])
    """
    tune_allocator()
    check_count(n, "a number of samples", 2)
    check_count(batch_size, "a batch size")
    action = check_sampled(flow, action)
    if fields is not None:
        check_fields(fields, flow.plan.input.event_shape)
    measured = Observables(action, observables)
    parts, weights = [], []
    with ProgressBar("sample", check_console(console)) as progress_bar:
        for start in range(0, n, batch_size):
            phi, value, log_weights = weighted_samples(flow, action, min(batch_size, n - start))
            weights.append(log_weights.cpu())
            parts.append(measured.measure(phi, value))
            progress_bar.update(start + len(phi), (start + len(phi)) / n)
    series = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    target_log_weights = None if fields is None else log_weights_of(flow, action, fields, batch_size)
    return report_of(series, torch.cat(weights), measured.averages(flow.plan.input.shape), target_log_weights)


def weighted_samples(flow: Density, action: Action, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw n samples of a flow; return them, their actions, and their log-weights -S - ln q in double precision."""
    phi, log_q = flow.rsample_and_log_prob(n)
    value = action(phi)
    return phi, value, -value.double() - log_q.double()


class Samples(Sampler):
    """Samples of a flow with their weights, n at once."""

    title = "sample"

    def __init__(self, flow: Density, action: Action, n: int) -> None:
        self._flow, self._action, self._n = flow, action, n
        self.fields = torch.empty(0, *flow.plan.input.event_shape)

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Draw a batch of samples."""
        self.fields, value, log_weights = weighted_samples(self._flow, self._action, self._n)
        return [Draw(self.fields, 1.0, value, log_weights)]

    def state(self) -> State:
        """Nothing: samples are independent."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing changes."""


def log_weights_of(flow: Density, action: Action, fields: Tensor, batch_size: int) -> Tensor:
    """The log-weights -S - ln q of fields of the target, (N,), in double precision on the CPU; inf where q is 0.

    Raises:
        FloatingPointError: if a log-weight is not a number.
    """
    parts = fields.to(flow.device, flow.dtype).split(batch_size)
    log_weights = torch.cat([-action(part).double() - flow.log_prob(part).double() for part in parts]).cpu()
    if wrong := int(log_weights.isnan().sum()):
        raise FloatingPointError(f"Expected weights of fields of the target; got NaN for {wrong} of {len(fields)}")
    return log_weights


def report_of(
    series: Mapping[str, Tensor],
    log_weights: Tensor,
    functions: Mapping[str, Average],
    target_log_weights: Tensor | None,
) -> Report:
    """Average the series of n samples with their weights.

    Args:
        series: by name, what was measured, (n, ...).
        log_weights: -S - ln q of the samples, (n,).
        functions: by name, functions of averages; see `averages_of`.
        target_log_weights: -S - ln q of fields of the target from another sampler, (N,); None without such fields.

    Raises:
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.
    """
    log_w = finite_log_weights(log_weights)
    n, w = len(log_w), log_w.softmax(0)
    effective = effective_number(log_w).item()
    ess = effective / n
    quantities, correlator = summarize(
        series,
        functions,
        lambda values: w @ values,
        lambda centred: (w * centred).square().sum().sqrt().item(),
    )
    log_z, k = log_w.logsumexp(0).item() - math.log(n), pareto_k(log_w)
    forward = (
        None if target_log_weights is None else (missed(target_log_weights, log_w), forward_ess(target_log_weights))
    )
    verdict = verdict_on_weights(log_w, k, forward)
    if effective < FEWEST:  # one weight decides, so that no error can be estimated
        correlator = None if correlator is None else (correlator[0], torch.full_like(correlator[1], math.nan))
        quantities = {name: Quantity(quantity.value, math.nan) for name, quantity in quantities.items()}
    warn_of(verdict)
    return Report(
        n,
        ess,
        log_z,
        math.sqrt(max(0.0, 1 / ess - 1) / n) if effective >= FEWEST else math.nan,
        Quantity(-log_w.mean().item(), log_w.std().item() / math.sqrt(n)),
        quantities,
        correlator,
        log_w,
        k,
        verdict,
        *(forward or (None, None)),
    )
