"""Samples of fillings: particles annealed from a Gaussian, then chains of Hamiltonian Monte Carlo, and how they mix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

from mera._utils.progress import ProgressBar
from mera._utils.random import seeded
from mera.bijectors.circular import wrap
from mera.cones import Restriction
from mera.sampling import annealing
from mera.sampling.diagnostics import MIXED
from mera.sampling.hamiltonian import HamiltonianChains, StepSize

SURVIVORS = 0.5
"""The effective sample size of the weights of a stage, as a fraction of the particles."""
METRIC_EVERY = 2.0
"""The growth of beta after which the metric of the annealing is computed again, which takes longer than a stage."""
METRIC_PARTICLES = 4
"""The number of particles whose curvature is the metric of a stage."""
MIN_EIGENVALUE = 1e-8
"""The lower bound of the eigenvalues of a metric, relative to the largest eigenvalue."""
DIRECTIONS = 64
"""The most directions along which latents are differentiated together."""
DIFFERENCE = 1e-3
"""The step of a difference quotient, in standard deviations of the image's variables."""
PROJECTIONS = 4
"""The number of random projections of a filling that are judged, together with log p."""
MIN_EFFECTIVE = 20
"""The smallest effective sample size with which chains can count as mixed."""

LogProb = Callable[[Tensor], Tensor]
"""ln p up to a constant, from fillings (K, d) to (K,), differentiable."""
Metric = Callable[[Tensor], Tensor]
"""From fillings (K, d) to approximations of minus the second derivatives of ln p, (K, d, d)."""


@dataclass(frozen=True)
class Convergence:
    """Convergence diagnostics of the chains that draw posterior samples.

    Args:
        acceptance: the mean acceptance rate.
        r_hat: the largest split R-hat of log p and random projections; near 1 if the chains have mixed.
        effective: the smallest effective sample size of log p and random projections.
        draws: the total number of draws of all chains.
        chains: the number of chains.
    """

    acceptance: float
    r_hat: float
    effective: float
    draws: int
    chains: int

    @property
    def mixed(self) -> bool:
        """Whether two chains or more agree, with draws enough to tell: the draws are then samples of the fillings."""
        return self.r_hat < MIXED and self.chains > 1 and self.effective >= MIN_EFFECTIVE

    def __str__(self) -> str:
        if self.mixed:
            verdict = "mixed"
        elif self.chains == 1:
            verdict = "a single chain cannot show whether it has seen all kinds of fillings"
        elif self.r_hat < MIXED:
            verdict = f"too few draws to tell whether the chains have mixed: fewer than {MIN_EFFECTIVE} are independent"
        else:
            verdict = (
                "not mixed, so that the draws are possible fillings, but in other proportions than p(masked pixels | "
                "other pixels) has; more warm-up and iterations may help"
            )
        return (
            f"acceptance {self.acceptance:.2f}, R-hat up to {self.r_hat:.3f}, {self.draws:,} draws, "
            f"an effective sample size of {self.effective:.0f}: {verdict}"
        )


def anneal(
    log_prob: LogProb,
    metric: Metric,
    start: MultivariateNormal,
    particles: int,
    moves: int,
    leapfrog: int,
    progress_bar: ProgressBar,
) -> Tensor:
    """Anneal particles (particles, d) from a Gaussian to a density; see `mera.sampling.annealing.anneal`.

    A mode gets particles by its mass along the way, not by the height of its peak; a peak that is far narrower than
    other modes has little mass on the way, and may be lost.
    """
    noise = torch.randn(particles, len(start.loc), dtype=start.loc.dtype).to(start.loc)  # the same on any device
    x = start.loc + noise @ start.scale_tril.mT
    precision = torch.cholesky_inverse(start.scale_tril.double()).to(x)

    found: list[tuple[float, Tensor]] = [(0.0, precision)]  # the last metric and its beta

    def scale(x: Tensor, beta: float) -> Tensor:
        if beta == 1 or beta > METRIC_EVERY * found[0][0]:
            found[0] = beta, metric(x[torch.randperm(particles)[:METRIC_PARTICLES]]).mean(0)
        return whitening(((1 - beta) * precision + beta * found[0][1])[None])[0]

    rows, _ = annealing.anneal(
        start.log_prob, log_prob, x, StepSize(0.5 / x.shape[1] ** 0.25), survivors=SURVIVORS, moves=moves,
        leapfrog=leapfrog, scale=scale, show=lambda n, beta: progress_bar.update(n, beta, f"beta {beta:.3f}"),
    )  # fmt: skip
    return rows


def hmc(
    log_prob: LogProb,
    metric: Metric,
    start: Tensor,
    warmup: int,
    iterations: int,
    leapfrog: int,
    progress_bar: ProgressBar,
) -> tuple[Tensor, Tensor, float]:
    """Draw samples by chains (K, d): (iterations, K, d), their log-densities (iterations, K), the acceptance rate.

    During the warm-up each chain tunes its own step size to the acceptance rate 0.8. At the start and after one and two
    thirds of the warm-up, the mass matrix of a chain is set to the metric at its position. Both are constant after the
    warm-up. The number of leapfrog steps is random, up to `leapfrog`, so that trajectories do not close.
    """
    chains = HamiltonianChains(log_prob, start)
    step = StepSize(torch.full_like(chains.x[:, :1], 0.5 / chains.x.shape[1] ** 0.25))
    positions, values, accepted = [], [], 0.0
    for i in range(warmup + iterations):
        if i in {0, warmup // 3, 2 * warmup // 3}:
            chains.scale = whitening(metric(chains.x))
            step.restart()
        rate = chains.trajectory(step.value, 1 + int(torch.randint(leapfrog, ())))
        if i < warmup:
            step.tune(rate[:, None])
        else:
            positions.append(chains.x)
            values.append(chains.value)
            accepted += rate.mean().item() / iterations
        progress_bar.update(i + 1, (i + 1) / (warmup + iterations), f"accepted {rate.mean():.2f}")
    return torch.stack(positions), torch.stack(values), accepted


def whitening(metric: Tensor) -> Tensor:
    """For each metric M (K, d, d) a matrix S with S S^T = M^-1, after clamping the eigenvalues of M from below."""
    values, vectors = torch.linalg.eigh(metric.double().nan_to_num())
    floor = MIN_EIGENVALUE * values[:, -1:].clamp(min=1e-12)
    return (vectors / values.clamp(min=floor).sqrt()[:, None, :]).to(metric)


@torch.no_grad()
def curvature(local: Restriction, row: Tensor, of_angles: bool = False) -> Tensor:
    """J^T J for the Jacobian J of the latents in the cone: minus the second derivatives of log p for Gaussian latents.

    J is made of central differences, one for each masked variable, and not of gradients, one for each latent: a metric
    needs no more digits, a cone has at least as many latents as masked variables, and no evaluation has to be kept for
    gradients. Angles are subtracted around the circle. From fillings (K, C n) to (K, C n, C n).
    """
    jacobians = torch.stack([_jacobian(local, filling, of_angles) for filling in row])
    return jacobians.mT @ jacobians


def _jacobian(local: Restriction, filling: Tensor, of_angles: bool) -> Tensor:
    """The Jacobian (latents, C n) of the cone's latents with respect to the masked variables (C n,)."""
    n = len(filling)
    width = -(-n // -(-n // DIRECTIONS))  # parts of equal width, for one recording
    step = DIFFERENCE * (local.view.std().item() or 1.0)
    shifts = step * torch.eye(n, dtype=filling.dtype, device=filling.device)
    columns = []
    for part in F.pad(shifts, (0, 0, 0, -n % width)).split(width):
        pixels = (filling + torch.cat([part, -part])).unflatten(1, local.pixels.shape[1:])
        above, below = torch.cat([level.flatten(1) for level in local.encode(pixels)], dim=1).chunk(2)
        columns.append((wrap(above - below) if of_angles else above - below) / (2 * step))
    return torch.cat(columns)[:n].mT


def judged_quantities(chains: Tensor, log_prob: Tensor) -> Tensor:
    """log p (draws, K) and random projections of chains (draws, K, d) of fillings: (draws, K, 1 + PROJECTIONS).

    The largest R-hat of all variables grows with their number, although the chains have mixed: of 200 runs of four
    chains with 768 variables that did, it would refuse all.
    """
    flat = chains.double().flatten(0, 1)
    with seeded(0):
        directions = torch.randn(flat.shape[1], PROJECTIONS, dtype=torch.float64).to(flat.device)
    standard = (flat - flat.mean(0)) / flat.std(0).clamp(min=torch.finfo(flat.dtype).tiny)
    return torch.cat([log_prob.double()[..., None], (standard @ directions).view(*chains.shape[:2], -1)], 2)
