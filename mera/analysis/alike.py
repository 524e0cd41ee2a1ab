"""Latents that are alike: sites of a level that translations map to each other, and one mean for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera.graph import Plan

DEVIATIONS = 5.0
"""The excess of chi-squared, in standard deviations, from which equivalent latents count as different. It is large,
since a level has hundreds of groups, of which none should be taken apart by chance."""


class Moments:
    """The mean and its standard error, from values that are added in batches."""

    def __init__(self) -> None:
        self.n, self.sum, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Add a batch of values, (n, ...)."""
        self.n += len(values)
        self.sum, self.squares = self.sum.to(values) + values.sum(0), self.squares.to(values) + values.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """The mean of all values."""
        return self.sum / self.n

    @property
    def error(self) -> Tensor:
        """The standard error of the mean, infinite for one value."""
        variance = (self.squares / self.n - self.mean.square()).clamp(min=0) / (self.n - 1 or 1)
        return torch.full_like(variance, math.inf) if self.n == 1 else variance.sqrt()


def pooled(moments: Sequence[Moments], groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Means and errors (C, sites), with one mean for latents of a group that do not differ by more than their errors.

    Args:
        moments: for each partition of the sites into groups, moments of the means over groups, (C, groups). The last
            partition has one site in each group.
        groups: for each partition the sites of each group, (groups, members).
    """
    places = [_inverse(sites) for sites in groups]
    mean, error = moments[-1].mean[:, places[-1]], moments[-1].error[:, places[-1]]
    common, deviation, pending = mean.clone(), error.clone(), torch.ones_like(mean, dtype=torch.bool)
    for part, sites, group in zip(moments, groups, places, strict=True):
        degrees = sites.shape[1] - 1
        differences = (mean - part.mean[:, group]).square()
        chi_squared = (differences / error.square())[:, sites].sum(-1)
        are_alike = (chi_squared <= degrees + DEVIATIONS * math.sqrt(2 * degrees))[:, group] & pending
        common = torch.where(are_alike, part.mean[:, group], common)
        spread = (differences - error.square())[:, sites].mean(-1).clamp(min=0)[:, group]  # of the members of a group
        deviation = torch.where(are_alike, (part.error[:, group].square() + spread).sqrt(), deviation)
        pending &= ~are_alike
    return common, deviation


def _inverse(sites: Tensor) -> Tensor:
    """The group of each site, (sites,), from the sites of each group, (groups, members)."""
    return sites.flatten().argsort() // sites.shape[1]


def equivalent_sites(plan: Plan, level: int) -> list[Tensor]:
    """Partitions of the sites of a level into groups that translations map to each other, each (groups, members).

    The first partition is by translations by whole patches of all steps between the data and the level. The periods of
    the next partitions are twice as long each, for data with a period of its own, down to single sites.
    """
    lattice = plan.latents[level].lattice
    makers = {target: step for step in plan.steps for target in step.targets}
    periods = [1] * lattice.dim
    value = plan.latents[level].value
    while value in makers:
        step = makers[value]
        if step.module:
            for d, (n, stride) in enumerate(zip(step.apply.lattice.shape, step.apply.stride, strict=True)):
                sites = n // lattice.shape[d]  # of the lattice of the step, in a site of the level
                periods[d] = math.lcm(periods[d], stride // math.gcd(stride, sites))
        value = step.source
    partitions: list[Tensor] = []
    while not partitions or partitions[-1].shape[1] > 1:
        periods = [period if n % period == 0 else n for period, n in zip(periods, lattice.shape, strict=True)]
        partitions.append(_by_period(lattice.shape, periods))
        periods = [2 * period for period in periods]
    return partitions


def _by_period(shape: Sequence[int], periods: Sequence[int]) -> Tensor:
    """The sites of a lattice in groups of the same place modulo the periods, (groups, members)."""
    blocks = [length for period, n in zip(periods, shape, strict=True) for length in (n // period, period)]
    sites = torch.arange(math.prod(shape)).view(blocks)
    return sites.permute(*range(1, len(blocks), 2), *range(0, len(blocks), 2)).reshape(math.prod(periods), -1)
