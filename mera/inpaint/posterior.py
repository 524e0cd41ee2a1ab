"""Samples of fillings: particles annealed from a Gaussian, then chains of Hamiltonian Monte Carlo, and how they mix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
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

SURVIVORS = 0.4
"""The effective sample size of the weights of a stage, as a fraction of the particles."""
METRIC_EVERY = 3.0
"""The growth of beta after which the metric of the annealing is computed again, which takes longer than a stage."""
METRIC_PARTICLES = 2
"""The number of particles or chains whose mean curvature is the metric."""
MIN_EIGENVALUE = 1e-8
"""The lower bound of the eigenvalues of a metric, relative to the largest eigenvalue."""
DIRECTIONS = 128
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


class Stop(AbstractContextManager["Stop"]):
    """A context that ends at Ctrl-C and remembers it, so that what was found until then is kept."""

    requested = False

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        """Take a `KeyboardInterrupt` as a request to stop; any other error goes on."""
        self.requested |= kind is KeyboardInterrupt
        return kind is KeyboardInterrupt


def anneal(
    log_prob: LogProb, metric: Metric, start: MultivariateNormal, particles: int, moves: int, leapfrog: int,
    progress_bar: ProgressBar, stop: Stop,
) -> Tensor:  # fmt: skip
    """Anneal particles (particles, d) from a Gaussian to a density; see `mera.sampling.annealing.anneal`.

    A mode gets particles by its mass along the way, not by the height of its peak; a peak that is far narrower than
    other modes has little mass on the way, and may be lost.
    """
    noise = torch.randn(particles, len(start.loc), dtype=start.loc.dtype).to(start.loc)  # the same on any device
    rows = start.loc + noise @ start.scale_tril.mT
    precision = torch.cholesky_inverse(start.scale_tril.double()).to(rows)
    last_beta, last_metric = 0.0, precision

    def scale(x: Tensor, beta: float) -> Tensor:
        nonlocal rows, last_beta, last_metric
        rows = x
        if beta == 1 or beta > METRIC_EVERY * last_beta:
            last_beta, last_metric = beta, mean_metric(metric, x)
        return whitening((1 - beta) * precision + beta * last_metric)

    with stop:
        rows, _ = annealing.anneal(
            start.log_prob, log_prob, rows, StepSize(0.5 / rows.shape[1] ** 0.25), survivors=SURVIVORS, moves=moves,
            leapfrog=leapfrog, scale=scale, show=lambda n, beta: progress_bar.update(n, beta, f"beta {beta:.3f}"),
        )  # fmt: skip
    return rows


def hmc(
    log_prob: LogProb, metric: Metric, start: Tensor, warmup: int, iterations: int, leapfrog: int,
    progress_bar: ProgressBar, stop: Stop,
) -> tuple[Tensor, Tensor, float]:  # fmt: skip
    """Draw samples by chains (K, d): (iterations, K, d), their log-densities (iterations, K), the acceptance rate.

    During the warm-up each chain tunes its own step size to the acceptance rate 0.8. At the start and after half of the
    warm-up, the mass matrix of all chains is set to the mean metric at some of them. Both are constant after the
    warm-up. The number of leapfrog steps is random, up to `leapfrog`, so that trajectories do not close. After a
    request to stop, the draws until then are returned, or the positions if there are none.
    """
    chains = HamiltonianChains(log_prob, start)
    step = StepSize(torch.full_like(chains.x[:, :1], 0.5 / chains.x.shape[1] ** 0.25))
    positions, values, accepted = [], [], 0.0
    with stop:
        for i in range(0 if stop.requested else warmup + iterations):
            if i in {0, warmup // 2}:
                chains.scale = whitening(mean_metric(metric, chains.x))
                step.restart()
            rate = chains.trajectory(step.value, 1 + int(torch.randint(leapfrog, ())))
            if i < warmup:
                step.tune(rate[:, None])
            else:
                positions.append(chains.x)
                values.append(chains.value)
                accepted += rate.mean().item()
            progress_bar.update(i + 1, (i + 1) / (warmup + iterations), f"accepted {rate.mean():.2f}")
    accepted /= max(len(positions), 1)
    return torch.stack(positions or [chains.x]), torch.stack(values or [chains.value]), accepted


def mean_metric(metric: Metric, x: Tensor) -> Tensor:
    """The mean metric at a few of the positions (K, d): (d, d)."""
    return metric(x[torch.randperm(len(x))[:METRIC_PARTICLES]]).mean(0)


def whitening(metric: Tensor) -> Tensor:
    """For a metric M (d, d), whose eigenvalues are raised a little, a matrix S with S S^T = M^-1."""
    dtype, metric = metric.dtype, metric.double().nan_to_num()
    floor = MIN_EIGENVALUE * metric.trace().clamp(min=1e-12) * torch.eye(len(metric)).to(metric)
    factor = torch.linalg.cholesky(metric + floor)
    return torch.linalg.solve_triangular(factor, torch.eye(len(metric)).to(metric), upper=False).mT.to(dtype)


@torch.no_grad()
def curvature(local: Restriction, row: Tensor, of_angles: bool = False) -> Tensor:
    """J^T J for the Jacobian J of the latents in the cone: minus the second derivatives of log p for Gaussian latents.

    J is made of differences, one for each masked variable, and not of gradients, one for each latent: a metric needs no
    more digits, a cone has at least as many latents as masked variables, and no evaluation has to be kept for
    gradients. Angles are subtracted around the circle. From fillings (K, C n) to (K, C n, C n).
    """
    jacobians = torch.stack([_jacobian(local, filling, of_angles) for filling in row])
    return jacobians.mT @ jacobians


def _jacobian(local: Restriction, filling: Tensor, of_angles: bool) -> Tensor:
    """The Jacobian (latents, C n) of the cone's latents with respect to the masked variables (C n,)."""
    n = len(filling)
    width = -(-(n + 1) // -(-(n + 1) // DIRECTIONS))  # parts of equal width, for one recording
    step = DIFFERENCE * (local.view.std().item() or 1.0)
    shifts = F.pad(step * torch.eye(n, dtype=filling.dtype, device=filling.device), (0, 0, 1, -(n + 1) % width))
    parts = [(filling + part).unflatten(1, local.pixels.shape[1:]) for part in shifts.split(width)]
    rows = torch.cat([torch.cat([level.flatten(1) for level in local.encode(part)], dim=1) for part in parts])
    change = rows[1 : n + 1] - rows[:1]
    return ((wrap(change) if of_angles else change) / step).mT


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
