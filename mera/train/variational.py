"""Learning from an action: the flow draws its own examples, and the action says how likely they should be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.actions import ActionLike, check_domain, effective_fraction, evaluate_action
from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.data import DataSplits, Examples
from mera.density import Density
from mera.physics.hmc import Trajectories
from mera.physics.target import field_target
from mera.symmetrized import Symmetrized, underlying
from mera.train.arguments import is_starting
from mera.train.kinds import Fields, Key

__all__ = ["Draws", "Variational", "as_draws", "is_action"]

CHUNK = 16
"""Draws that are made together, so that a process which needs a part of a batch draws little more than that."""
START, BETWEEN, SNAPSHOTS = 100, 10, 8
"""Layers start from fields of Hamiltonian Monte Carlo: trajectories before, trajectories between fields of a chain that
are used, and the most such fields of a chain."""
VALUES = 2**20
"""About the most numbers in the fields from which layers start."""
LEAST_CHAINS = 16
FAR = (1e3, 1e6, 1e9)
"""Factors of fields; an action that falls from each to the next is not bounded from below."""


class Draws(Dataset):
    """Latents of the prior as a data set without end, (variables + 1,): all levels in one row, and a number in [0, 1).

    Which latents come in which step is a function of the seed, the step and the row, as is the noise of images.

    Args:
        flow: the flow whose prior it is.
    """

    in_order = True

    def __init__(self, flow: Density) -> None:
        self.flow = underlying(flow)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Tensor:
        return self.chunk(0, 0, index // CHUNK)[index % CHUNK]

    def chunk(self, seed: int, step: int, number: int) -> Tensor:
        """`CHUNK` draws, (CHUNK, variables + 1): the latents, and behind them a number in [0, 1).

        Args:
            seed: the seed of the run.
            step: the step.
            number: which rows of the step's batch: the first `CHUNK`, the next ones, and so on.
        """
        flow = self.flow
        shapes = [(CHUNK, latent.lattice.variables) for latent in flow.plan.latents]
        with seeded(seed, step, number):
            like = torch.empty(0, dtype=flow.dtype)
            levels = flow.prior.sample(shapes, [1.0] * len(shapes), like)
            return torch.cat([*levels, torch.rand(CHUNK, 1).to(like)], dim=1)


class Variational(Fields):
    r"""Samples of the flow itself, whose loss is :math:`(\ln q(\phi) + S(\phi)) / n` for n variables.

    Its mean is the Kullback-Leibler divergence from the flow's density q to :math:`e^{-S} / Z`, less :math:`\ln Z`, for
    each variable.

    Args:
        action: the action S.
        estimator: how the gradient is estimated; see `Settings.estimator`.
        anneal: the part of the run in which S takes the place of the action of uncoupled Gaussian variables.
        alpha: see `Settings.alpha`.
    """

    def __init__(self, action: ActionLike, estimator: str = "path", anneal: float = 0.0, alpha: float = 0.5) -> None:
        self.action, self.estimator, self.anneal, self.alpha, self.share = action, estimator, anneal, alpha, 1.0

    def advance(self, progress: float) -> None:
        """Set the share of the action."""
        self.share = min(1.0, progress / self.anneal) if self.anneal else 1.0

    def read(self, examples: Examples, keys: Sequence[Key], seed: int) -> tuple[Tensor, Tensor]:
        """Latents of the prior and numbers that choose the symmetry, as functions of seed, step and row."""
        if not isinstance(examples, Draws):
            raise InputError("draws of a prior", type(examples).__name__)
        numbers = sorted({(step, row // CHUNK) for step, row, _ in keys})
        chunks = {number: examples.chunk(seed, *number) for number in numbers}
        rows = torch.stack([chunks[step, row // CHUNK][row % CHUNK] for step, row, _ in keys])
        return rows[:, :-1], rows[:, -1]

    def start(self, flow: Density, examples: Examples, n: int) -> Tensor:
        """Fields of a short run of Hamiltonian Monte Carlo, from which layers start; noise if no layer does."""
        variables = flow.plan.input.variables
        chains = min(n, max(LEAST_CHAINS, VALUES // variables))
        phi = torch.randn(chains, *flow.plan.input.event_shape).to(flow.device, flow.dtype).flatten(1)
        if not is_starting(flow):
            return phi.unflatten(1, flow.plan.input.event_shape)
        target = field_target(self.action, flow.plan.input.event_shape)
        trajectories, snapshots = Trajectories(target, length=1.0), []
        with torch.no_grad():
            phi, _ = trajectories.run(phi, START, tune=True)
            for _ in range(max(1, min(SNAPSHOTS, VALUES // (chains * variables)))):
                phi, _ = trajectories.run(phi, BETWEEN)
                snapshots.append(target.to_fields(phi))
        return torch.cat(snapshots)

    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """Samples of the flow."""
        x = underlying(flow).inverse(_levels(flow, examples))[0]
        return flow.transform(x, _choice(flow, noise)) if isinstance(flow, Symmetrized) else x

    def loss(self, flow: Density, examples: Tensor, noise: Tensor, context: Tensor | None) -> Tensor:
        """The loss of each sample, (B,), in nats for each variable."""
        n = flow.plan.input.variables
        if self.estimator == "path" and torch.is_grad_enabled():
            return self._path(flow, self.to_data(flow, examples, noise)) / n
        if self.estimator in ("score", "alpha") and torch.is_grad_enabled():
            with torch.no_grad():
                x = self.to_data(flow, examples, noise)
            return self._by_score(flow, x) / n
        z = _levels(flow, examples)
        inside = underlying(flow)
        x, log_det = inside.inverse(z)
        log_q = inside.prior.log_prob(z) - log_det
        if isinstance(flow, Symmetrized):
            choice = _choice(flow, noise)
            x = flow.transform(x, choice)
            log_q = flow.log_prob_given(x, log_q, choice)
        return (log_q + self._target(x)) / n

    def _path(self, flow: Density, x: Tensor) -> Tensor:
        r"""The path gradient (Roeder et al. 2017, https://arxiv.org/abs/1703.09194): that through the samples alone.

        The other part of the gradient has mean 0, and noise that stays when the flow is exact.
        """
        fixed = x.detach().requires_grad_()
        value = flow.log_prob(fixed) + self._target(fixed)
        (force,) = torch.autograd.grad(value.sum(), fixed)
        along = (force * x).flatten(1).sum(1)
        return value.detach() + along - along.detach()

    def _by_score(self, flow: Density, x: Tensor) -> Tensor:
        r"""A gradient through the density alone: a factor for each sample, times the score :math:`\nabla \ln q`.

        For the Kullback-Leibler divergence the factor is the value against the mean of the others (RLOO, Kool et al.
        2019). The Rényi divergence :math:`\ln \int p^\alpha q^{1 - \alpha} / (\alpha (\alpha - 1))`, with which the
        alpha-divergence grows, has the factor :math:`-w^\alpha / \alpha` for normalised :math:`w^\alpha` of the weights
        :math:`w = e^{-S} / q`; its mean is subtracted. The others, and the norm, are those of the same part of a batch
        and of the same process.
        """
        if len(x) < 2:
            raise InputError("at least 2 samples in each part of a batch, for the score function", str(len(x)))
        log_q = flow.log_prob(x)
        value = log_q.detach() + self._target(x)
        if self.estimator == "alpha":
            factor = (1 - len(value) * (-self.alpha * value).softmax(0)) / self.alpha
        else:
            factor = value - (value.sum() - value) / (len(value) - 1)
        surrogate = factor * log_q
        return value + surrogate - surrogate.detach()

    def _target(self, x: Tensor) -> Tensor:
        """The action in this step, (B,)."""
        action = evaluate_action(self.action, x)
        if self.share == 1:
            return action
        if getattr(self.action, "is_compact", False):  # of uncoupled angles
            return self.share * action
        return self.share * action + (1 - self.share) * x.square().flatten(1).sum(1) / 2

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        """The effective sample size, from 0 to 1, and the variational free energy in nats, a bound of -ln Z."""
        actions = losses * flow.plan.input.variables
        return {"ess": effective_fraction(-actions), "free_energy": actions.mean().item()}

    def not_finite(self, x: Tensor) -> str | None:
        """Whether the action of samples is finite."""
        return None if evaluate_action(self.action, x).isfinite().all() else "the action"


def is_action(data: Any) -> bool:
    """Whether what a flow is to learn from is an action rather than examples."""
    if isinstance(data, type):
        raise InputError("data or an action to learn from", f"the class {data.__name__}")
    examples = any(hasattr(data, name) for name in ("__getitem__", "__iter__"))
    return callable(data) and not examples and not isinstance(data, Density)


def as_draws(action: ActionLike, flow: Density) -> DataSplits:
    """What a flow learns from an action: draws of its prior. An action that is not bounded from below is refused.

    Args:
        action: the action.
        flow: the flow.

    Raises:
        ValueError: if the action returns anything but a number for each field, if it is not bounded from below, or if
            the flow takes a context.
        FloatingPointError: if the action of a field is not finite.
    """
    if flow.plan.context is not None:
        raise InputError("a flow without context to learn an action", f"one with context {flow.plan.context}")
    draws = Draws(flow)
    check_domain(action, draws.flow.prior.distribution)
    with torch.no_grad(), seeded(0):
        x = torch.randn(CHUNK, *flow.plan.input.event_shape, dtype=flow.dtype).to(flow.device)
        sizes = x[CHUNK // 2 :].flatten(2)[:, :, :1]
        x[CHUNK // 2 :] = sizes.view(*sizes.shape[:2], *(1 for _ in flow.plan.input.shape))  # constant fields too
        values = evaluate_action(action, x)
        if not values.isfinite().all():
            raise FloatingPointError(f"Expected a finite action of fields of unit size; got {_first_bad(values)}")
        far = torch.stack([values, *(evaluate_action(action, scale * x) for scale in FAR)])
        falls = (far[1:] < far[:-1]).all(0)
        if not getattr(action, "is_compact", False) and falls.any():
            found = ", ".join(f"{value:.4g}" for value in far[:, falls.nonzero()[0, 0]])
            scales = ", ".join(f"{scale:g}" for scale in FAR)
            raise InputError("an action that is bounded from below", f"{found} for a field times 1, {scales}")
    return DataSplits(_name(action), flow.plan.input.channels, draws, draws)


def _levels(flow: Density, rows: Tensor) -> tuple[Tensor, ...]:
    """Latents as the flow takes them, from rows (B, variables)."""
    latents = underlying(flow).plan.latents
    parts = rows.split([latent.lattice.variables for latent in latents], dim=1)
    return tuple(part.unflatten(1, latent.lattice.event_shape) for part, latent in zip(parts, latents, strict=True))


def _choice(flow: Symmetrized, noise: Tensor) -> Tensor:
    """The numbers of elements, integers (B,), that numbers in [0, 1) choose, all of them with the same probability."""
    n = len(flow.elements)
    return (noise * n).long().clamp(max=n - 1)


def _first_bad(values: Tensor) -> float:
    """The first value that is infinite or NaN."""
    return values[~values.isfinite()][0].item()


def _name(action: ActionLike) -> str:
    """What messages call an action."""
    return getattr(action, "__name__", None) or repr(action)
