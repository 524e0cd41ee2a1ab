"""Measurements: fields with the histories of their observables, and averages with their errors and verdicts."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mera._utils.drawn import Drawn
from mera.physics.observables import Average, Quantity, averages_of
from mera.physics.verdicts import verdict_on_zero
from mera.sampling.diagnostics import ROUNDING, gamma_method
from mera.sampling.verdict import Verdict, least_trusted, marked, worst


@dataclass(frozen=True)
class ChainAverage:
    """The mean of values along K chains, (draws, K), with errors by the Gamma method.

    Args:
        weights: the weights of the draws, with mean 1, (draws, K); or 1 for equal weights.
    """

    weights: Tensor | float = 1.0

    def average(self, values: Tensor) -> Tensor:
        """The weighted mean of all draws."""
        return (self.weights * values).mean()

    def error(self, centred: Tensor) -> float:
        """The standard error from the values less their average, which has the correlations of successive draws."""
        return gamma_method(self.weights * centred).error


@dataclass(frozen=True)
class WeightedAverage:
    """The weighted mean of independent samples, or of particles that depend on each other within a population.

    Args:
        weights: the weights of the samples, with sum 1, (n,).
        populations: the number of populations, which follow one another; None for independent samples.
    """

    weights: Tensor
    populations: int | None = None

    def average(self, values: Tensor) -> Tensor:
        """The weighted mean, of values (n,)."""
        return self.weights @ values

    def error(self, centred: Tensor) -> float:
        """The standard error, by linear expansion of the ratio of two means; from the spread over populations, times
        `student`.
        """
        n = self.populations or len(centred)
        deviations = (self.weights * centred).unflatten(0, (n, -1)).sum(1)
        error = math.sqrt(n / (n - 1) * deviations.square().sum().item())
        return error if self.populations is None else error * student(n)


@lru_cache
def student(n: int, coverage: float = 0.6827) -> float:
    """The number of standard errors from n values within which a mean lies so often, by Student's t.

    >>> round(student(4), 2), round(student(1000), 2)
    (1.2, 1.0)
    """
    from scipy.stats import t

    return float(t.ppf((1 + coverage) / 2, n - 1))


Averaging = ChainAverage | WeightedAverage
"""A rule for the average of the values of an observable, and for its standard error."""


@torch.inference_mode(False)
@torch.enable_grad()
def summarize(
    series: Mapping[str, Tensor],
    functions: Mapping[str, Average],
    averaging: Averaging,
    verdicts: Mapping[str, Verdict],
    zero: Collection[str] = (),
) -> tuple[dict[str, Quantity], dict[str, Verdict], tuple[Tensor, Tensor] | None]:
    """Averages with their errors and verdicts; errors of functions of averages are propagated by linear expansion.

    Args:
        series: by name, the values of each observable, (...,), and of the two-point function, (..., r).
        functions: by name, functions of averages; see `averages_of`.
        averaging: how values are averaged, and the standard error of an average.
        verdicts: by name, the verdicts on averages. The verdict on a function is the worst on the averages it takes.
        zero: the names of averages that a symmetry of the action forbids.

    Returns:
        The quantities by name; the verdicts by name, but for quantities that noise makes NaN; and the two-point
        function with its errors, (r,) each, if it was measured.
    """
    scalars = {name: values for name, values in series.items() if name != "correlator"}
    distances = series["correlator"].unbind(-1) if "correlator" in series else ()
    columns = {f"_correlator {r}": column for r, column in enumerate(distances)}
    scalars |= columns
    means = {name: averaging.average(values).detach().requires_grad_() for name, values in scalars.items()}
    averages = means | ({"correlator": torch.stack([means[name] for name in columns])} if columns else {})
    centred = {}
    for name, values in scalars.items():
        difference, mean = values - means[name].detach(), means[name].detach()
        is_constant = difference.abs().max() <= ROUNDING * mean.abs()
        centred[name] = torch.zeros_like(difference) if is_constant else difference
    quantities = {
        name: Quantity(means[name].item(), averaging.error(centred[name]))
        for name in scalars
        if not name.startswith("_")
    }
    verdicts = dict(verdicts)
    for name in zero:
        verdicts[name] = verdict_on_zero(*quantities[name], verdicts[name])
    for name, function in functions.items():
        value = function(averages)
        quantities[name] = Quantity(value.item(), math.nan)
        if not value.isfinite():
            continue
        gradients = torch.autograd.grad(value, list(means.values()), allow_unused=True)
        slopes = {key: slope for key, slope in zip(means, gradients, strict=True) if slope is not None}
        total = torch.stack([slope * centred[key] for key, slope in slopes.items()]).sum(0)
        if total.isfinite().all():  # not where a root is 0
            quantities[name] = Quantity(value.item(), averaging.error(total))
        verdicts[name] = least_trusted(*([verdicts[key] for key in slopes if key in verdicts] or verdicts.values()))
    verdicts = {name: verdict for name, verdict in verdicts.items() if not name.startswith("_")}
    if not columns:
        return quantities, verdicts, None
    errors = torch.tensor([averaging.error(centred[name]) for name in columns], dtype=torch.float64)
    return quantities, verdicts, (averages["correlator"].detach(), errors)


def summary(
    facts: Mapping[str, Any], series: Mapping[str, Tensor], averaging: Averaging, verdicts: Mapping[str, Verdict]
) -> dict[str, Any]:
    """The arguments of a `Measured` that follow from its series; for `facts` see `lattice_facts`."""
    functions = averages_of(facts["shape"][1:], tuple(facts["periodic"]), facts["inverse_temperature"])
    observables, verdicts, correlator = summarize(series, functions, averaging, verdicts, facts.get("zero", ()))
    return {
        "series": series,
        "averaging": averaging,
        "observables": observables,
        "verdicts": verdicts,
        "correlator": correlator,
    }


@dataclass(frozen=True, repr=False, kw_only=True)
class Measured(Drawn, ABC):
    """The result of `hmc`, `metropolis`, `estimate` or `anneal`.

    Args:
        fields: the fields that are kept, (N, C, *shape).
        series: by name, the observables of each draw; those of `history`, the two-point function, and what the
            derived quantities take.
        averaging: how the draws are averaged, and the standard error of an average.
        observables: by name, the value and its standard error.
        verdicts: by name, whether the value and its error can be trusted.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        log_weights: the log-weights of the draws; None if they have none.
    """

    fields: Tensor
    series: Mapping[str, Tensor]
    averaging: Averaging
    observables: Mapping[str, Quantity]
    verdicts: Mapping[str, Verdict]
    correlator: tuple[Tensor, Tensor] | None
    log_weights: Tensor | None = None

    @property
    def history(self) -> dict[str, Tensor]:
        """By name, the observable of each draw, (n,) of samples or (draws, K) of chains; see `Observables`."""
        return {name: s for name, s in self.series.items() if not name.startswith("_") and name != "correlator"}

    @property
    def verdict(self) -> Verdict:
        """Return whether averages and errors can be trusted: the worst verdict on a quantity."""
        return worst(self.verdicts)

    def _rows(self, n: float, **others: Quantity) -> list[tuple[str, str, str]]:
        """The rows of a table of other quantities and the observables, with errors from n independent draws."""
        quantities = others | dict(self.observables)
        return [(name, q.text(n), marked(self.verdicts.get(name))) for name, q in quantities.items()]

    def derive(self, function: Average) -> Quantity:
        r"""A function of averages, with an error that has all correlations between the averages.

        The error is that of `observables`: by linear expansion, along chains, over samples or over populations.

        Args:
            function: a differentiable function from the averages by name, tensors without dimensions and the two-point
                function "correlator", (r,), to one real number.

        Raises:
            RuntimeError: if the function is not differentiable, or returns several numbers or a complex one.

        Warns:
            UserWarning: with the verdict, if averages are wrong or errors mean nothing.

        >>> from mera import physics
        >>> chain = physics.hmc((1, 4, 4), physics.FreeField(4.0), draws=200)
        >>> chain.derive(lambda mean: mean["m4"] / mean["m2"] ** 2).error < 1
        True
        >>> chain.derive(lambda mean: mean["correlator"][1] / mean["correlator"][0]).error < 1
        True
        """
        self.verdict.warn()
        shown = {name: values for name, values in self.series.items() if not name.startswith("_")}
        verdicts = dict.fromkeys(shown, self.verdict)
        return summarize(shown, {"": function}, self.averaging, verdicts)[0][""]
