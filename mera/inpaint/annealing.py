"""Fillings by their mass rather than their density: annealed from a Gaussian to p(masked pixels | other pixels)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mera._utils.progress import ProgressBar
from mera.inpaint.hmc import whitening
from mera.sampling import annealing
from mera.sampling.hamiltonian import StepSize

SURVIVORS = 0.5
"""The effective sample size of the weights of a stage, as a fraction of the particles."""
SEEN = 4
"""The number of particles whose curvature is the metric of a stage."""


def anneal(
    log_prob: Callable[[Tensor], Tensor],
    curvature: Callable[[Tensor], Tensor],
    start: MultivariateNormal,
    particles: int,
    moves: int,
    leapfrog: int,
    progress_bar: ProgressBar,
) -> Tensor:
    """Anneal particles from a Gaussian to a density; see `mera.sampling.annealing.anneal`.

    A mode gets particles by its mass along the way, not by the height of its peak; a peak that is far narrower than
    other modes has little mass on the way, and may be lost.

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
    x = start.loc + noise @ start.scale_tril.mT
    precision = torch.cholesky_inverse(start.scale_tril.double()).to(x)

    def scale(x: Tensor, beta: float) -> Tensor:
        seen = x[torch.randperm(particles)[:SEEN]]
        return whitening(((1 - beta) * precision + beta * curvature(seen).mean(0))[None])[0]

    rows, _ = annealing.anneal(
        start.log_prob, log_prob, x, StepSize(0.5 / x.shape[1] ** 0.25), survivors=SURVIVORS, moves=moves,
        leapfrog=leapfrog, scale=scale, show=lambda n, beta: progress_bar.update(n, beta, f"beta {beta:.3f}"),
    )  # fmt: skip
    return rows
