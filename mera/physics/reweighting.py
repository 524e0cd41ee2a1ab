r"""Averages over :math:`e^{-S} / Z` from reweighted samples of a flow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_count
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.chains.effective_size import effective_number
from mera.density import Density
from mera.display.painter import Pictured
from mera.display.progress import ProgressBar, check_console
from mera.display.table import Table
from mera.physics.action import Action, ActionLike
from mera.physics.observables import Observables, Quantity, summarize
from mera.physics.target import check_fields, check_sampled

if TYPE_CHECKING:
    from rich.console import Console

MISSED = 5.0
"""A field of the target counts as missed by the flow if its log-weight exceeds the largest log-weight of the samples by
this many nats."""


@dataclass(frozen=True, repr=False)
class Report(Pictured):
    r"""Results from reweighted samples of a flow.

    Args:
        n: the number of samples.
        ess: the effective sample size as a fraction of n, 0 to 1.
        log_z: the estimate of :math:`\ln Z`.
        log_z_error: the standard error of `log_z`.
        free_energy: the variational free energy, the mean of :math:`\ln q + S`, an upper bound of :math:`-\ln Z`; it
            exceeds :math:`-\ln Z` by the Kullback-Leibler divergence of the flow.
        observables: by name, the value and the standard error; see `Observables`.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        log_weights: :math:`-S - \ln q` of the samples, (n,).
        missed: the fraction of the argument `fields` of `estimate` that the samples miss; None without `fields`.
    """

    n: int
    ess: float
    log_z: float
    log_z_error: float
    free_energy: Quantity
    observables: Mapping[str, Quantity]
    correlator: tuple[Tensor, Tensor] | None
    log_weights: Tensor
    missed: float | None = None

    @property
    def table(self) -> Table:
        """A table with a row for each quantity."""
        rows = [
            ("ESS", f"{self.ess:.4f} of {self.n:,} samples"),
            ("ln Z", str(Quantity(self.log_z, self.log_z_error))),
            ("variational free energy", str(self.free_energy)),
        ]
        return Table(["quantity", "value"], [*rows, *((name, str(q)) for name, q in self.observables.items())])

    def __repr__(self) -> str:
        """The table as text."""
        return str(self.table)


@torch.no_grad()
@fixed_weights()
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
    mode, the averages and their errors are wrong. The effective sample size does not reveal a mode that no sample
    reaches; fields of the target from another sampler do (argument `fields`).

    Args:
        flow: the flow.
        action: the action S, from fields (B, C, *shape) to (B,).
        n: the number of samples.
        batch_size: the number of samples that are drawn in one batch.
        observables: your own observables by name, functions from fields to numbers (B,).
        fields: fields of the target from another sampler, (N, C, *shape), such as `MarkovChains.fields`; warns
            if any of these fields lies where the flow has no samples.
        console: a rich console for the progress bar; None to show nothing.

    Raises:
        ValueError: if an argument is invalid, or the action does not return one number for each field.
        FloatingPointError: if a weight is NaN.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(8,), prior="gaussian")
    >>> report = physics.estimate(flow, physics.FreeField(mass2=1.0), n=1000)
    >>> 0 < report.ess <= 1, sorted(report.observables)[:3]
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
            phi, log_q = flow.rsample_and_log_prob(min(batch_size, n - start))
            value = action(phi)
            weights.append((-value.double() - log_q.double()).cpu())
            parts.append(measured.measure(phi, value))
            progress_bar.update(start + len(phi), (start + len(phi)) / n)
    log_w = torch.cat(weights)
    if log_w.isnan().any():
        raise FloatingPointError(f"Expected finite weights; got NaN for {int(log_w.isnan().sum())} of {n} samples")
    w = log_w.softmax(0)
    ess = effective_number(log_w).item() / n
    shape = flow.plan.input.shape
    quantities, correlator = summarize(
        {name: torch.cat([part[name] for part in parts]) for name in parts[0]},
        measured.derived(math.prod(shape), max(shape)),
        lambda values: w @ values,
        lambda centred: (w * centred).square().sum().sqrt().item(),
    )
    log_z = log_w.logsumexp(0).item() - math.log(n)
    return Report(
        n,
        ess,
        log_z,
        math.sqrt(max(0.0, 1 / ess - 1) / n),
        Quantity(-log_w.mean().item(), log_w.std().item() / math.sqrt(n)),
        quantities,
        correlator,
        log_w,
        None if fields is None else _missed(flow, action, fields, log_w, batch_size),
    )


def _missed(flow: Density, action: Action, fields: Tensor, log_weights: Tensor, batch_size: int) -> float:
    """The fraction of fields whose log-weights exceed the largest log-weight of the samples by more than `MISSED`."""
    parts = [
        -action(part).double() - flow.log_prob(part).double()
        for part in fields.to(flow.device, flow.dtype).split(batch_size)
    ]
    missed = (torch.cat(parts).cpu() > log_weights.max() + MISSED).double().mean().item()
    if missed > 0:
        warnings.warn(
            f"Expected fields of the target where the flow has samples; got {missed:.1%} of the fields with "
            f"weights above e^{MISSED:g} times the largest weight of a sample: the flow misses a part of the target, "
            "and averages are wrong",
            stacklevel=5,
        )
    return missed
