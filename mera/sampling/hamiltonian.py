"""Hamiltonian Monte Carlo for a batch of chains, with a tuned step (Neal 2011, https://arxiv.org/abs/1206.1901)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError

TARGET_RATE = 0.8
"""The acceptance rate to which steps are tuned."""
FIRST_STEP, LONGEST, MAX_STEPS = 0.1, 1e4, 1000
"""The initial step, the longest mean length of a trajectory, and the most leapfrog steps in one of mean length."""
START, BETWEEN = 100, 10
"""The trajectories of each chain of a short run before its first field, and between its fields."""
ORDINARY = 1e3
"""Variables of ordinary size, at which a log-density that is NaN is an error."""

LogProb = Callable[[Tensor], Tensor]
"""A log-density up to a constant, from (K, ...) to (K,), differentiable."""


class HamiltonianChains:
    r"""K Markov chains that move along Hamiltonian trajectories with a Metropolis test at the end of each trajectory.

    Their log-density is a weighted sum of terms, :math:`\sum_t w_t \ln p_t(x)`, which are known at the positions.

    Args:
        terms: the functions :math:`\ln p_t`, up to constants, from (K, ...) to (K,); one of them must be
            differentiable.
        x: the initial positions, (K, ...).

    Attributes:
        x: the positions, (K, ...).
        values: the terms at the positions, (T, K).
        gradients: the gradients of the terms, (T, K, ...).
        weights: the weights of the terms; 1 at first.
        scale: for positions (K, d), a matrix S (d, d) for the mass matrix :math:`(S S^T)^{-1}`; None for unit masses.
    """

    def __init__(self, terms: Sequence[LogProb], x: Tensor) -> None:
        self._terms = terms
        self.scale: Tensor | None = None
        self.weights = [1.0] * len(terms)
        self.x = x.detach()
        self.values, self.gradients = self.evaluate(self.x)

    @property
    def value(self) -> Tensor:
        """The log-density at the positions, (K,)."""
        return self._weighted(self.values)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The terms (T, K) and their gradients (T, K, ...) at positions (K, ...)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            values = [term(x) for term in self._terms]
            if not any(value.requires_grad for value in values):
                raise InputError("an action that is differentiable", "one without a gradient")
            gradients = [
                torch.autograd.grad(value.sum(), x)[0] if value.requires_grad else torch.zeros_like(x)
                for value in values
            ]
        return torch.stack([value.detach() for value in values]), torch.stack(gradients)

    def take(self, indices: Tensor) -> None:
        """Let each chain go on from the position of the chain of an index, (K,)."""
        self.x, self.values, self.gradients = self.x[indices], self.values[:, indices], self.gradients[:, indices]

    def accept(self, accepted: Tensor, x: Tensor, values: Tensor, gradients: Tensor) -> None:
        """Move the chains that accept, (K,), to new positions with their terms and gradients."""
        at_positions = self._by_chain(accepted)
        self.x = torch.where(at_positions, x, self.x)
        self.values = torch.where(accepted, values, self.values)
        self.gradients = torch.where(at_positions, gradients, self.gradients)

    def mirror(self) -> None:
        """Multiply the positions of each chain by a random sign, which leaves even densities as they are."""
        signs = self._by_chain(1 - 2 * torch.randint(2, (len(self.x),), device=self.x.device))
        self.x, self.gradients = signs * self.x, signs * self.gradients

    def trajectory(self, step: float | Tensor, steps: int) -> Tensor:
        """Move all chains along one trajectory of leapfrog steps, of one step size or one for each chain, (K,).

        Returns:
            The acceptance rate of each chain, (K,). A trajectory that diverges has rate 0.
        """
        step = self._by_chain(step) if isinstance(step, Tensor) and step.ndim else step
        momentum = torch.randn_like(self.x)  # of unit mass, in coordinates q with x = S q
        energy = self.value.double() - momentum.double().square().flatten(1).sum(1) / 2
        x, values, gradients = self.x, self.values, self.gradients
        for _ in range(steps):
            momentum = momentum + step / 2 * self._scaled(self._weighted(gradients), transposed=True)
            x = x + step * self._scaled(momentum)
            values, gradients = self.evaluate(x)
            momentum = momentum + step / 2 * self._scaled(self._weighted(gradients), transposed=True)
        value = self._weighted(values)
        change = value.double() - momentum.double().square().flatten(1).sum(1) / 2 - energy
        if (value.isnan() & (x.abs().flatten(1).amax(1) < ORDINARY)).any():  # not inf - inf of a diverging trajectory
            raise FloatingPointError("Expected a finite log-density of finite variables; got NaN")
        change = torch.where(change.isfinite(), change, -math.inf)
        self.accept(torch.rand_like(change).log() < change, x, values, gradients)
        return change.clamp(max=0).exp().to(self.x)

    def _weighted(self, terms: Tensor) -> Tensor:
        """The weighted sum of terms, or of their gradients, (T, ...)."""
        return reduce(torch.add, (weight * term for weight, term in zip(self.weights, terms, strict=True)))

    def _by_chain(self, values: Tensor) -> Tensor:
        """Numbers of the chains, (K,), that broadcast with positions."""
        return values.view(-1, *(1 for _ in self.x.shape[1:]))

    def _scaled(self, vectors: Tensor, transposed: bool = False) -> Tensor:
        """Multiply the vectors (K, d) of the chains by S, or by its transpose."""
        if self.scale is None:
            return vectors
        return vectors @ (self.scale if transposed else self.scale.mT)


class StepSize:
    r"""A step size, tuned to `TARGET_RATE` by stochastic approximation (Robbins & Monro 1951).

    After the t-th proposal with the acceptance rate r, :math:`\ln \epsilon` grows by :math:`(r - r^*) / \sqrt{t}` for
    the target rate :math:`r^*`.

    Args:
        value: the initial step size, a number; or one for each chain, (K,).
        least: the smallest step size.

    Attributes:
        proposals: the number of proposals so far. After a 0, the next ones change the step as much as the first ones.
    """

    def __init__(self, value: float | Tensor, least: float = 0.0) -> None:
        self.value = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
        self.least, self.proposals = least, 0

    def tune(self, rate: float | Tensor) -> None:
        """Update the step size from the acceptance rate of the last proposal, of the shape of the step size."""
        self.proposals += 1
        change = torch.as_tensor((rate - TARGET_RATE) / self.proposals**0.5, dtype=self.value.dtype)
        self.value = (self.value * change.exp()).clamp(self.least)


class Trajectories:
    """Hamiltonian trajectories of fields (K, C, *shape), of random lengths and unit masses.

    Lengths vary by half of their mean, so that no mode of the field has a period that always matches the length. In the
    first half of the warm-up each chain has a step of its own, (K,), since a start may lie where the density is too
    steep for the step of the others. From then on the chains of a group share a step, which begins at the median.

    Args:
        log_prob: the log-density of fields (K, C, *shape) up to a constant, (K,), differentiable.
        fields: the initial fields, (K, C, *shape).
        length: the mean length of a trajectory.
        warmup: the number of trajectories of the warm-up.
        groups: the number of groups of successive chains that share a step after a half of it.

    Raises:
        FloatingPointError: if the log-density or its gradient is not finite at the initial fields.
    """

    state_names = ("chains.x", "chains.values", "chains.gradients", "tuning.value", "tuning.proposals", "is_common")
    """The names of the attributes on which the next trajectories depend."""

    def __init__(
        self, log_prob: LogProb, fields: Tensor, length: float = 1.0, warmup: int = START, groups: int = 1
    ) -> None:
        self.length, self._log_prob, self._warmup = length, log_prob, warmup
        self.groups, self.is_common = groups, False  # whether the chains of a group share a step
        self.tuning = StepSize(fields.new_full(fields.shape[:1], FIRST_STEP), least=length / MAX_STEPS)
        self.move_to(fields)

    def move_to(self, fields: Tensor) -> None:
        """Go on from other fields (K, C, *shape)."""
        self.chains = HamiltonianChains([self._log_prob], fields)
        if not (self.chains.value.isfinite().all() and self.chains.gradients.isfinite().all()):
            raise FloatingPointError("Expected a finite action and gradient at the start; got infinite values or NaN")

    @property
    def fields(self) -> Tensor:
        """The current fields, (K, C, *shape)."""
        return self.chains.x

    def advance(self, tune: bool = False, left: int = 1) -> float:
        """Run a trajectory, and return the acceptance rate; in a warm-up, of which `left` trajectories remain, tune."""
        if tune and left == self._warmup - self._warmup // 4:
            self.tuning.proposals = 0  # steps that suited the start may not suit what follows
        if not (self.is_common or (tune and left > self._warmup // 2)):
            self.is_common = True
            self.tuning.value = self._by_group(self.tuning.value.view(self.groups, -1).median(1).values)
            self.tuning.proposals = 0
        length, step = self.length * (0.5 + torch.rand(()).item()), self.tuning.value
        rate = self.chains.trajectory(step.clamp(max=length), max(1, math.ceil(length / step.median().item())))
        if tune:
            self.tuning.tune(self._by_group(rate.view(self.groups, -1).mean(1)) if self.is_common else rate)
        return rate.mean().item()

    def _by_group(self, values: Tensor) -> Tensor:
        """The values of groups as those of their chains, (K,)."""
        return values.repeat_interleave(len(self.fields) // self.groups)


@torch.no_grad()
def short_run(moves: Any, snapshots: int = 1, warmup: int = START) -> Tensor:
    """Fields of short chains, approximate samples of a density: (snapshots * K, C, *shape).

    Args:
        moves: the chains, which have the methods of `Trajectories`.
        snapshots: the number of fields of each chain.
        warmup: the number of moves before the first field, which tune steps.
    """
    for left in range(warmup, 0, -1):
        moves.advance(True, left)
    fields = [moves.fields]
    for _ in range(snapshots - 1):
        for _ in range(BETWEEN):
            moves.advance()
        fields.append(moves.fields)
    return torch.cat(fields)
