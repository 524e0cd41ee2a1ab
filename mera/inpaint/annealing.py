"""Fillings by their mass rather than their density: annealed from a Gaussian to p(masked pixels | other pixels)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mera._utils.errors import InputError
from mera.chains.hamiltonian import HamiltonianChains
from mera.chains.step_size import StepSize
from mera.chains.weights import largest_change, systematic
from mera.display.progress import ProgressBar
from mera.inpaint.hmc import whitening

SURVIVORS = 0.5
"""The effective sample size of the weights of a stage, as a fraction of the particles."""
SEEN = 4
"""The number of particles whose curvature is the metric of a stage."""
MOST_STAGES = 1000


def anneal(
    log_prob: Callable[[Tensor], Tensor],
    curvature: Callable[[Tensor], Tensor],
    start: MultivariateNormal,
    particles: int,
    moves: int,
    leapfrog: int,
    progress_bar: ProgressBar,
) -> Tensor:
    r"""Sequential Monte Carlo from a Gaussian g to a density p (Del Moral, Doucet and Jasra 2006).

    The stages are :math:`g^{1 - \beta} p^\beta`. Each :math:`\beta` is chosen such that the weights of the particles
    have an effective sample size of half their number. The particles are then resampled, and moved by Hamiltonian Monte
    Carlo. A mode thus gets particles by its mass along the way, not by the height of its peak; a peak that is far
    narrower than other modes has little mass on the way, and may be lost.

    Args:
        log_prob: ln p up to a constant, from (K, d) to (K,), differentiable.
        curvature: from (K, d) to approximations of minus the second derivatives of `log_prob`, (K, d, d).
        start: the Gaussian.
        particles: the number of particles.
        moves: the number of Hamiltonian trajectories of each particle in a stage.
        leapfrog: the largest number of leapfrog steps in a trajectory.
        progress_bar: the progress bar.

    Returns:
        The particles, (particles, d).

    Raises:
        ValueError: if no particle has a finite density, or the density has no end of stages.
    """
    noise = torch.randn(particles, len(start.loc), dtype=start.loc.dtype).to(start.loc)  # the same on any device
    x, beta = start.loc + noise @ start.scale_tril.mT, 0.0
    precision = torch.cholesky_inverse(start.scale_tril.double()).to(x)
    step = StepSize(0.5 / x.shape[1] ** 0.25)
    for stage in range(MOST_STAGES):
        with torch.no_grad():
            ratio = log_prob(x) - start.log_prob(x)
        ratio = torch.where(ratio.isfinite(), ratio, -torch.inf)
        if ratio.max() == -torch.inf:
            raise InputError("a filling of finite density", f"none among {particles}")
        change = largest_change(ratio, 1 - beta, SURVIVORS)
        beta = min(1.0, beta + change)
        x = x[systematic((change * ratio).softmax(0)[None])[0]]
        seen = x[torch.randperm(particles)[:SEEN]]
        metric = (1 - beta) * precision + beta * curvature(seen).mean(0)

        def log_stage(row: Tensor, beta: float = beta) -> Tensor:
            return beta * log_prob(row) + (1 - beta) * start.log_prob(row)

        chains = HamiltonianChains(log_stage, x)
        chains.scale = whitening(metric[None])[0]
        step.restart()
        for _ in range(moves):
            step.tune(chains.trajectory(step.value, 1 + int(torch.randint(leapfrog, ()))).mean().item())
        x = chains.x
        progress_bar.update(stage + 1, beta, f"beta {beta:.3f}")
        if beta == 1:
            return x
    raise InputError("a density that a Gaussian reaches in stages", f"beta = {beta:.3g} after {MOST_STAGES} stages")
