"""Averages of draws, and their standard errors: along chains, over weighted samples, and over populations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from mera.sampling.diagnostics import gamma_method


@dataclass(frozen=True)
class ChainAverage:
    """The mean of values along K chains, (draws, K).

    Args:
        by_spread: whether errors come from the spread of the means of the chains, times `student`, rather than by the
            Gamma method, which does not see correlations that are weak and slow.
    """

    by_spread: bool = False

    def average(self, values: Tensor) -> Tensor:
        """The mean of all draws."""
        return values.mean()

    def error(self, centred: Tensor) -> float:
        """The standard error from the values less their average, which has the correlations of successive draws."""
        if self.by_spread and (k := centred.shape[1]) > 1:
            return centred.mean(0).std().item() / math.sqrt(k) * student(k)
        return gamma_method(centred).error


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
