"""Samples of fillings: particles annealed from a Gaussian, then chains of Hamiltonian Monte Carlo, and how they mix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mera._utils.progress import ProgressBar
from mera._utils.random import restored_states, seed_cpu
from mera._utils.torch_modes import calls_at_once, in_threads
from mera.inpaint.metric import whitening
from mera.sampling import annealing
from mera.sampling.diagnostics import effective_size, r_hat, r_hat_by_chance
from mera.sampling.hamiltonian import HamiltonianChains, LogProb, StepSize
from mera.sampling.verdict import Trust, Verdict, judge

SURVIVORS = 0.25
"""The effective number of the weights of particles, or of a group of fillings, as a fraction of them."""
METRIC_EVERY, SCALE_EVERY = 30.0, 2.0
"""The growth of beta after which the annealing computes the metric and the masses again; a metric takes seconds."""
PROJECTIONS = 4
"""The number of random projections of a filling that are judged, together with log p."""
MIXED_WORDS = "the fillings have the right proportions"
UNMIXED_WORDS = "possible fillings, not in the right proportions"
"""The first words of the verdict on draws of chains that agree, and of chains that do not."""

Metric = Callable[[Tensor], Tensor]
"""From a filling (d,) to an approximation of minus the second derivatives of ln p, (d, d)."""


@dataclass(frozen=True)
class Convergence:
    """Convergence diagnostics of the chains that draw posterior samples.

    Args:
        acceptance: the mean acceptance rate.
        r_hat: the largest split R-hat of log p and random projections; near 1 if the chains have mixed.
        effective: the smallest effective sample size of log p and random projections.
        draws: the total number of draws of all chains.
        chains: the number of chains.
        by_chance: the largest R-hat that so many draws of independent chains would show.
    """

    acceptance: float
    r_hat: float
    effective: float
    draws: int
    chains: int
    by_chance: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """The verdict on whether the draws have the proportions of p(masked pixels | other pixels), with numbers."""
        numbers = f"{self.draws:,} draws, of which {self.effective:.0f} are independent, accepted {self.acceptance:.2f}"
        agreement = {"r_hat": self.r_hat, "by_chance": self.by_chance, "chains": self.chains}
        found = judge({"fillings": True, "independent": self.effective, **agreement})
        words = {Trust.GOOD: MIXED_WORDS, Trust.MEANINGLESS: UNMIXED_WORDS}.get(found.trust, "")
        return Verdict(found.trust, f"{found.reason}; {numbers}", words)

    @property
    def mixed(self) -> bool:
        """Return whether two chains or more agree, with enough draws to tell that they are samples of the fillings."""
        return self.verdict.trust == Trust.GOOD

    def __str__(self) -> str:
        return str(self.verdict)


class Stop(AbstractContextManager["Stop"]):
    """A context that ends at Ctrl-C and remembers it, so that what was found until then is kept."""

    requested = False

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        """Take a `KeyboardInterrupt` as a request to stop; any other error goes on."""
        self.requested |= kind is KeyboardInterrupt
        return kind is KeyboardInterrupt


def anneal(
    log_prob: LogProb, metric: Metric, start: MultivariateNormal, particles: int, leapfrog: int,
    progress_bar: ProgressBar, stop: Stop,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Anneal particles (particles, d) from a Gaussian to a density; see `mera.sampling.annealing.anneal`.

    A mode gets particles by its mass along the way, not by the height of its peak; a peak that is far narrower than
    other modes has little mass on the way, and may be lost. Also return the metric of the last stage.
    """
    noise = torch.randn(particles, len(start.loc), dtype=start.loc.dtype).to(start.loc)  # the same on any device
    rows = start.loc + noise @ start.scale_tril.mT
    precision = torch.cholesky_inverse(start.scale_tril.double()).to(rows)
    beta_of_metric, beta_of_scale, last_metric, last_scale = 0.0, 0.0, precision, start.scale_tril

    def scale(x: Tensor, beta: float) -> Tensor:
        nonlocal rows, beta_of_metric, beta_of_scale, last_metric, last_scale
        rows = x
        if beta > METRIC_EVERY * beta_of_metric:
            beta_of_metric, last_metric = beta, metric(x[0])
        if beta > SCALE_EVERY * beta_of_scale:
            beta_of_scale, last_scale = beta, whitening((1 - beta) * precision + beta * last_metric)
        return last_scale

    with stop:
        rows, _ = annealing.anneal(
            start.log_prob, log_prob, rows, StepSize(0.5 / rows.shape[1] ** 0.25), survivors=SURVIVORS, moves=1,
            leapfrog=leapfrog, scale=scale, show=lambda n, beta: progress_bar.update(n, beta, f"beta {beta:.3f}"),
        )  # fmt: skip
    return rows, last_metric


def hmc(
    log_prob: LogProb, start: Tensor, mass: Tensor, warmup: int, iterations: int, leapfrog: int,
    progress_bar: ProgressBar, stop: Stop,
) -> tuple[Tensor, Tensor, float]:  # fmt: skip
    """Draw samples by chains (K, d): (iterations, K, d), their log-densities (iterations, K), the acceptance rate.

    During the warm-up each chain tunes its own step size to the acceptance rate 0.8; all have the mass matrix `mass`
    (d, d). The number of leapfrog steps is random, up to `leapfrog`, so that trajectories do not close. After a request
    to stop, the draws until then are returned, or the start if there are none.
    """
    step = StepSize(torch.full_like(start[:, 0], 0.5 / start.shape[1] ** 0.25))
    positions, values, accepted = [], [], 0.0
    with stop:
        for i in range(0 if stop.requested else warmup + iterations):
            if i == 0:
                chains = HamiltonianChains([log_prob], start)
                chains.scale = whitening(mass)
            rate = chains.trajectory(step.value, 1 + int(torch.randint(leapfrog, ())))
            if i < warmup:
                step.tune(rate)
            else:
                positions.append(chains.x)
                values.append(chains.value)
                accepted += rate.mean().item()
            progress_bar.update(i + 1, (i + 1) / (warmup + iterations), f"accepted {rate.mean():.2f}")
    if not positions:
        return start[None], log_prob(start)[None], 0.0
    return torch.stack(positions), torch.stack(values), accepted / len(positions)


class LogProbInThreads(torch.autograd.Function):
    """A log-density of rows (K, d), in threads that evaluate some rows each, with their gradients: (K,).

    Where single operations are small, threads of whole rows are faster than operations that use several threads.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, log_prob: LogProb) -> Tensor:
        """Evaluate the log-density, and its gradient if one is needed."""
        needs_gradient = ctx.needs_input_grad[0]

        def evaluate(part: Tensor) -> tuple[Tensor, Tensor]:
            with torch.set_grad_enabled(needs_gradient):
                value = log_prob(part := part.detach().requires_grad_(needs_gradient))
                return value.detach(), torch.autograd.grad(value.sum(), part)[0] if needs_gradient else part

        parts = rows.chunk(calls_at_once(rows.device))
        values, gradients = zip(*in_threads(evaluate, parts, rows.device), strict=True)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient that the forward pass has computed."""
        return gradients[0][:, None] * ctx.saved_tensors[0], None


def judged_quantities(chains: Tensor, log_prob: Tensor) -> Tensor:
    """log p (draws, K) and random projections of chains (draws, K, d) of fillings: (draws, K, 1 + PROJECTIONS).

    The largest R-hat of all variables grows with their number, although the chains have mixed: it would refuse all of
    200 runs of four chains with 768 variables that did mix.
    """
    flat = chains.double().flatten(0, 1)
    with restored_states():
        seed_cpu(0)
        directions = torch.randn(flat.shape[1], PROJECTIONS, dtype=torch.float64).to(flat.device)
    standard = (flat - flat.mean(0)) / flat.std(0).clamp(min=torch.finfo(flat.dtype).tiny)
    return torch.cat([log_prob.double()[..., None], (standard @ directions).view(*chains.shape[:2], -1)], 2)


def convergence_of(chains: Tensor, log_prob: Tensor, acceptance: float) -> Convergence:
    """The diagnostics of chains (draws, K, d) with log p (draws, K)."""
    quantities = judged_quantities(chains, log_prob)
    largest, effective = r_hat(quantities).max().item(), effective_size(quantities).min().item()
    by_chance = max(map(r_hat_by_chance, quantities.unbind(2)))
    return Convergence(acceptance, largest, effective, log_prob.numel(), chains.shape[1], by_chance)
