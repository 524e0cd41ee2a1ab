"""Averages over draws and their standard errors: along chains, of weighted samples, and over populations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from mera.sampling.diagnostics import gamma_method


class Averaging(ABC):
    """How the values of an observable are averaged, and the standard error of the average."""

    def average(self, values: Tensor) -> Tensor:
        """The average of the values of an observable."""
        return values.mean()

    @abstractmethod
    def error(self, centred: Tensor) -> float:
        """The standard error of an average, from the values less their average."""


@dataclass(frozen=True)
class AlongChains(Averaging):
    """The mean of values along K chains, (draws, K), with errors by the Gamma method.

    Args:
        weights: the weights of the draws, with mean 1, (draws, K); None for equal weights.
    """

    weights: Tensor | None = None

    def average(self, values: Tensor) -> Tensor:
        """The weighted mean of all draws."""
        return (values if self.weights is None else self.weights * values).mean()

    def error(self, centred: Tensor) -> float:
        """The standard error, which has the correlations of successive draws."""
        return gamma_method(centred if self.weights is None else self.weights * centred).error


@dataclass(frozen=True)
class OfWeighted(Averaging):
    """The weighted mean of independent samples.

    Args:
        weights: the weights of the samples, with sum 1, (n,).
    """

    weights: Tensor

    def average(self, values: Tensor) -> Tensor:
        """The weighted mean, of values (n,)."""
        return self.weights @ values

    def error(self, centred: Tensor) -> float:
        """The standard error, by linear expansion of the ratio of two means."""
        return (self.weights * centred).square().sum().sqrt().item()


@dataclass(frozen=True)
class OverPopulations(OfWeighted):
    """The weighted mean of particles, population by population, with errors from the spread over populations.

    Args:
        weights: the weights of the particles, with sum 1, (n,).
        populations: the number of populations.
    """

    populations: int

    def error(self, centred: Tensor) -> float:
        """The standard error; particles of one population depend on each other."""
        deviations = (self.weights * centred).unflatten(0, (self.populations, -1)).sum(1)
        return math.sqrt(self.populations / (self.populations - 1) * deviations.square().sum().item())
