r"""Averages over :math:`e^{-S} / Z` from reweighted samples of a flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.table import Table
from mera.flow.density import Density
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_fields, check_sampled
from mera.physics.measured import Measured, WeightedAverage, summary
from mera.physics.observables import Observables, Quantity
from mera.physics.sampler import Draw, Sampler, record
from mera.physics.storage import Arrays, named
from mera.physics.trajectories import fields_of
from mera.physics.verdicts import (
    MIN_EFFECTIVE,
    finite_log_weights,
    format_ess,
    forward_of,
    pareto_k,
    verdict_on_terms,
    verdict_on_weights,
)
from mera.sampling.annealing import effective_number

if TYPE_CHECKING:
    from rich.console import Console

MOST_FIELDS = 1000
"""The most fields of the target that are compared with samples."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Report(Measured):
    r"""Results from reweighted samples of a flow, as a `Measured`, whose log-weights are :math:`-S - \ln q`.

    Fields are samples of the action only with their weights. Errors are NaN if fewer than two samples are effective.

    Args:
        n: the number of samples.
        ess: the effective sample size as a fraction of n, 0 to 1.
        log_z: the estimate of :math:`\ln Z`.
        log_z_error: the standard error of `log_z`.
        free_energy: the variational free energy, the mean of :math:`\ln q + S`, an upper bound of :math:`-\ln Z`; it
            exceeds :math:`-\ln Z` by the Kullback-Leibler divergence of the flow.
        pareto_k: the shape of the tail of the weights: below 0.5 errors can be trusted, from 0.7 on they mean nothing;
            NaN for fewer than 100 samples.
        missed: the fraction of the argument `fields` of `estimate` that the samples miss; None without fields.
        forward_ess: the effective sample size from the argument `fields` of `estimate`, 0 to 1; None without fields.
        field_log_weights: the log-weights of the fields that are kept, (m,).
    """

    n: int
    ess: float
    log_z: float
    log_z_error: float
    free_energy: Quantity
    log_weights: Tensor
    pareto_k: float
    missed: float | None
    forward_ess: float | None
    field_log_weights: Tensor

    @property
    def table(self) -> Table:
        """A table with a row for each quantity; errors from few effective samples have one digit."""
        rows = [
            ("ESS", f"{format_ess(self.ess, self.pareto_k)} of {self.n:,} samples", ""),
            ("variational free energy", str(self.free_energy), ""),
            *self._rows(self.ess * self.n, **{"ln Z": Quantity(self.log_z, self.log_z_error)}),
        ]
        if self.forward_ess is not None:
            rows.insert(1, ("ESS from fields of the target", f"{self.forward_ess:.4f}", ""))
        return Table(["quantity", "value", ""], rows)

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
    every: int = 0,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Report:
    r"""Estimate averages over :math:`e^{-S} / Z` from reweighted samples of a flow.

    Each sample has the weight :math:`w = e^{-S} / q` for the density q of the flow. Averages are exact in the limit of
    many samples for any flow whose weights have a finite variance. With few effective samples, or if the flow misses a
    mode, averages and errors are wrong, and `Report.verdict` says so: the tail of the weights (Pareto k) shows a
    variance that is not finite, and fields of the target show modes that no sample reaches, and tails that samples
    reach too seldom.

    Args:
        flow: the flow.
        action: the action S, from fields (B, C, *shape) to (B,).
        n: the number of samples.
        batch_size: the number of samples that are drawn in one batch.
        observables: your own observables by name, functions from fields to numbers (B,).
        fields: fields of the target from another sampler, (N, C, *shape), such as `MarkovChains.fields` of a long run;
            if None, those of short chains from over-dispersed fields, for an action with a gradient.
        every: keep every k-th sample, which is a sample of the action only with its weight; 0 to keep none.
        out: a folder, in which samples are kept as they are made; see `hmc`.
        resume: whether to go on with the measurement in the folder, up to `n`. After an interruption the samples are
            those of a measurement without one, for the same `batch_size`; a larger `n` draws further samples.
        console: a rich console for the progress bar; None shows it on terminals and in notebooks only.

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
    >>> report.n, sorted(report.observables)[:3]
    (1000, ['abs_m', 'binder', 'correlation_length'])
    """
    n = check_count(n, "a number of samples", 2)
    batch_size = check_count(batch_size, "a batch size")
    action = check_sampled(flow, action)
    fields = fields_of(action, flow) if fields is None else check_fields(fields, flow.plan.input.event_shape)
    measured = Observables(action, observables)
    facts = {"target": target_facts(flow, measured, fields, batch_size)}
    report = report_of(*record(
        "reweighting", Samples(flow, action, batch_size), flow, measured, facts,
        warmup=0, draws=n, every=every, out=out, resume=resume, console=console,
    ))  # fmt: skip
    report.verdict.warn(4)
    return report


def target_facts(
    flow: Density, measured: Observables, fields: Tensor | None, batch_size: int
) -> dict[str, list[float]] | None:
    """Log-weights, actions and observables of fields of the target, by name, for verdicts; None without fields."""
    if fields is None:
        return None
    parts = fields[:: -(-len(fields) // MOST_FIELDS)].to(flow.device, flow.dtype).split(batch_size)
    series = measured.measure_parts(parts) | {
        "log_weights": torch.cat([log_weights_of(flow, measured.action, part) for part in parts]),
        "actions": torch.cat([measured.action(part) for part in parts]),
    }
    return {name: values.tolist() for name, values in series.items() if name != "correlator"}


def weighted_samples(flow: Density, action: Action, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw n samples of a flow; return them, their actions, and their log-weights -S - ln q in double precision."""
    phi, log_q = flow.rsample_and_log_prob(n)
    value = action(phi)
    return phi, value, -value.double() - log_q.double()


class Samples(Sampler):
    """Samples of a flow with their weights, up to n at once."""

    title = "sample"
    independent = True

    def __init__(self, flow: Density, action: Action, n: int) -> None:
        self._flow, self._action, self._n = flow, action, n

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Draw a batch of samples."""
        fields, value, log_weights = weighted_samples(self._flow, self._action, min(self._n, most))
        return [Draw(fields, 1.0, value, log_weights)]


def log_weights_of(flow: Density, action: Action, fields: Tensor) -> Tensor:
    """The log-weights -S - ln q of fields of the target, (N,), in double precision on the CPU; inf where q is 0."""
    log_weights = (-action(fields).double() - flow.log_prob(fields).double()).cpu()
    if wrong := int(log_weights.isnan().sum()):
        raise FloatingPointError(f"Expected weights of fields of the target; got NaN for {wrong} of {len(fields)}")
    return log_weights


def report_of(facts: Mapping[str, Any], arrays: Arrays) -> Report:
    """Average what `record` has recorded of samples with their weights; FloatingPointError for infinite weights."""
    series = named(arrays, "series/")
    fields, _, log_w = series.pop("_fields"), series.pop("_rates"), finite_log_weights(series.pop("_log_weights"))
    field_log_weights, _ = series.pop("_field_log_weights"), series.pop("_field_actions")
    n, k = len(log_w), pareto_k(log_w)
    effective, log_z = effective_number(log_w).item(), log_w.logsumexp(0).item() - math.log(len(log_w))
    forward, averaging = forward_of(facts.get("target"), log_w), WeightedAverage(log_w.softmax(0))
    verdicts = {"ln Z": verdict_on_weights(log_w, k, forward)}
    for name, values in series.items():
        if values.ndim == 1:
            mean, ratio = averaging.average(values), 1.0
            if forward is not None:
                ratio = forward.error_ratio(name, mean.item(), averaging.error(values - mean), n, log_z)
            verdicts[name] = verdict_on_terms(verdicts["ln Z"], pareto_k(log_w + values.abs().log()), ratio)
    averages = summary(facts, series, averaging, verdicts)
    if effective < MIN_EFFECTIVE:  # one weight decides, so that no error can be estimated
        if averages["correlator"] is not None:
            averages["correlator"] = averages["correlator"][0], torch.full_like(averages["correlator"][1], math.nan)
        averages["observables"] = {name: Quantity(q.value, math.nan) for name, q in averages["observables"].items()}
    return Report(
        **averages,
        n=n,
        ess=effective / n,
        log_z=log_z,
        log_z_error=math.sqrt(max(0.0, n / effective - 1) / n) if effective >= MIN_EFFECTIVE else math.nan,
        free_energy=Quantity(-log_w.mean().item(), log_w.std().item() / math.sqrt(n)),
        log_weights=log_w,
        pareto_k=k,
        missed=None if forward is None else forward.missed,
        forward_ess=None if forward is None else forward.ess,
        fields=fields,
        field_log_weights=field_log_weights,
    )
