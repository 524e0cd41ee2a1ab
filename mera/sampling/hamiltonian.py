"""Hamiltonian Monte Carlo for a batch of chains, with a tuned step (Neal 2011, https://arxiv.org/abs/1206.1901)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mera._utils.errors import InputError

TARGET_RATE = 0.8
"""The acceptance rate to which steps are tuned."""
ORDINARY = 1e3
"""Variables of ordinary size, at which a log-density that is NaN is an error."""


class HamiltonianChains:
    """K Markov chains that move along Hamiltonian trajectories with a Metropolis test at the end of each trajectory.

    Args:
        log_prob: the log-density up to a constant, a differentiable function from (K, d) to (K,).
        x: the initial positions, (K, d).

    Attributes:
        x: the positions, (K, d).
        value: the log-density at the positions, (K,).
        gradient: the gradient of the log-density, (K, d).
        scale: a matrix S (d, d), or one for each chain (K, d, d), for the mass matrix :math:`(S S^T)^{-1}`; None for
            unit masses.
    """

    def __init__(self, log_prob: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self._log_prob = log_prob
        self.scale: Tensor | None = None
        self.x = x.detach()
        self.value, self.gradient = self.evaluate(self.x)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density (K,) and its gradient (K, d) at positions (K, d)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = self._log_prob(x)
            if not value.requires_grad:
                raise InputError("an action that is differentiable", "one without a gradient")
            (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    def trajectory(self, step: float | Tensor, steps: int) -> Tensor:
        """Move all chains along one trajectory of leapfrog steps, of one step size or one for each chain (K, 1).

        Returns:
            The acceptance rate of each chain, (K,). A trajectory that diverges has rate 0.
        """
        momentum = torch.randn_like(self.x)  # of unit mass, in coordinates q with x = S q
        energy = self.value.double() - momentum.double().square().sum(1) / 2
        x, value, gradient = self.x, self.value, self.gradient
        for _ in range(steps):
            momentum = momentum + step / 2 * self._scaled(gradient, transposed=True)
            x = x + step * self._scaled(momentum)
            value, gradient = self.evaluate(x)
            momentum = momentum + step / 2 * self._scaled(gradient, transposed=True)
        change = value.double() - momentum.double().square().sum(1) / 2 - energy
        if (value.isnan() & (x.abs().amax(1) < ORDINARY)).any():  # beyond, inf - inf is that of a diverging trajectory
            raise FloatingPointError("Expected a finite log-density of finite variables; got NaN")
        change = torch.where(change.isfinite(), change, -math.inf)
        accepted = torch.rand_like(change).log() < change
        self.x = torch.where(accepted[:, None], x, self.x)
        self.gradient = torch.where(accepted[:, None], gradient, self.gradient)
        self.value = torch.where(accepted, value, self.value)
        return change.clamp(max=0).exp().to(self.x)

    def _scaled(self, vectors: Tensor, transposed: bool = False) -> Tensor:
        """Multiply the vectors (K, d) of the chains by S, or by its transpose."""
        if self.scale is None:
            return vectors
        scale = self.scale.mT if transposed else self.scale
        return vectors @ scale.mT if scale.ndim == 2 else (scale @ vectors[..., None])[..., 0]


class StepSize:
    r"""A step size, tuned to `TARGET_RATE` by stochastic approximation (Robbins & Monro 1951).

    After the t-th proposal with the acceptance rate r, :math:`\ln \epsilon` grows by :math:`(r - r^*) / \sqrt{t}` for
    the target rate :math:`r^*`.

    Args:
        value: the initial step size, a number or a tensor with a step size for each chain.
        least: the smallest step size.
    """

    def __init__(self, value: float | Tensor, least: float = 0.0) -> None:
        self.value, self.least = value, least
        self._proposals = 0

    def tune(self, rate: float | Tensor) -> None:
        """Update the step size from the acceptance rate of the last proposal, of the shape of the step size."""
        self._proposals += 1
        change = (rate - TARGET_RATE) / self._proposals**0.5
        if isinstance(change, Tensor):
            self.value = torch.as_tensor(self.value * change.exp()).clamp(self.least)
        else:
            self.value = max(self.least, float(self.value) * math.exp(change))

    def state(self) -> Tensor:
        """The step size and the count of proposals, for `restore`."""
        return torch.tensor([float(self.value), self._proposals], dtype=torch.float64)

    def restore(self, state: Tensor) -> None:
        """Go on from a `state`."""
        self.value, self._proposals = state[0].item(), int(state[1])

    def restart(self) -> None:
        """Reset the proposal count, so that the next proposals change the step size as much as the first ones did."""
        self._proposals = 0
