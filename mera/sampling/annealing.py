r"""Annealed sequential Monte Carlo, from a density that is easy to draw from to another one.

Del Moral, Doucet and Jasra 2006, https://doi.org/10.1111/j.1467-9868.2006.00553.x
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.sampling.hamiltonian import HamiltonianChains, LogProb, StepSize
from mera.sampling.weights import effective_number

MAX_STAGES = 1000
BISECTIONS, MIN_CHANGE = 40, 1e-12
"""The halvings of the interval of a change of beta, and the smallest change."""


def anneal(
    start: LogProb,
    target: LogProb,
    x: Tensor,
    step: StepSize,
    *,
    survivors: float,
    moves: int,
    leapfrog: int,
    show: Callable[[int, float], object],
    scale: Callable[[Tensor, float], Tensor] | None = None,
) -> tuple[Tensor, list[tuple[float, float]]]:
    r"""Take particles (K, d) from a density g to a density p; return them, and beta and the step of each stage.

    In a stage :math:`g^{1 - \beta} p^\beta`, :math:`\beta` grows as far as the weights of the particles keep their
    effective number. The particles are then resampled, and moved by Hamiltonian Monte Carlo, whose step is tuned.

    The arguments `start` and `target` are ln g and ln p, `survivors` is the effective number of the weights of a stage,
    as a fraction of the particles, and `moves` the number of trajectories of a particle in a stage, each of at most
    `leapfrog` steps. `show` is called after each stage with the number of stages and beta. `scale` returns a matrix S
    from the particles and beta, for the mass matrix :math:`(S S^T)^{-1}`; None for unit masses.
    """
    chains = HamiltonianChains([start, target], x)
    stages: list[tuple[float, float]] = []
    beta = 0.0
    while beta < 1:
        if len(stages) == MAX_STAGES:
            raise InputError("a density that stages reach from the start", f"beta = {beta:.3g} after {MAX_STAGES}")
        ratio = (chains.values[1] - chains.values[0]).double()  # so that the last stage ends at 1
        ratio = torch.where(ratio.isfinite(), ratio, -torch.inf)
        if ratio.max() == -torch.inf:
            raise InputError("a particle of finite density", f"none among {len(x)}")
        change = largest_change(ratio, 1 - beta, survivors * int(ratio.isfinite().sum())).item()
        beta = min(1.0, beta + change)
        chains.take(systematic((change * ratio).softmax(0)[None])[0])
        chains.scale = None if scale is None else scale(chains.x, beta)
        step.proposals = 0
        move(chains, beta, step, moves, leapfrog, tune=True)
        stages.append((beta, float(step.value)))
        show(len(stages), beta)
    return chains.x, stages


def move(
    chains: HamiltonianChains, beta: float, step: StepSize, moves: int, leapfrog: int, tune: bool = False
) -> float:
    """Move chains, whose terms are ln g and ln p, within a stage, and return the mean acceptance rate."""
    chains.weights, total = [1 - beta, beta], 0.0
    for _ in range(moves):
        rate = chains.trajectory(step.value, 1 + int(torch.randint(leapfrog, ()))).mean().item()
        total += rate / moves
        if tune:
            step.tune(rate)
    return total


def largest_change(log_ratio: Tensor, most: float, number: float) -> Tensor:
    """The largest change of beta, up to `most`, at which weights exp(change * log_ratio) keep an effective number.

    From the logarithms of the ratios of two densities at the particles of populations, (..., K); the changes are (...).
    """
    low, high = torch.zeros_like(log_ratio[..., 0]), torch.full_like(log_ratio[..., 0], most)
    keeps_enough = effective_number(high[..., None] * log_ratio, -1) >= number
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_fine = effective_number(middle[..., None] * log_ratio, -1) >= number
        low, high = torch.where(is_fine, middle, low), torch.where(is_fine, high, middle)
    return torch.where(keeps_enough, most, low.clamp(min=MIN_CHANGE))


def systematic(weights: Tensor) -> Tensor:
    """Systematic resampling of populations: the indices of the parents, (P, K), by normalised weights, (P, K)."""
    populations, n = weights.shape
    first = torch.rand(populations, 1, device=weights.device, dtype=weights.dtype)
    positions = (torch.arange(n, device=weights.device) + first) / n
    return torch.searchsorted(weights.cumsum(1), positions).clamp(max=n - 1)
