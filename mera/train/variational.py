"""Learning from an action: the flow draws its own examples, and the action says how likely they should be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.base import log_det_dtype
from mera.data import Examples
from mera.density import Density
from mera.flow import Flow
from mera.physics.evaluation import ActionLike, effective_fraction, evaluate_action
from mera.physics.hmc import Trajectories
from mera.physics.target import field_target
from mera.symmetry.mixture import Symmetrized, underlying
from mera.train.arguments import is_starting
from mera.train.draws import CHUNK, Draws
from mera.train.kinds import Fields, Key

__all__ = ["Variational"]

START, BETWEEN, SNAPSHOTS = 100, 10, 8
"""Layers start from fields of Hamiltonian Monte Carlo: trajectories before, trajectories between fields of a chain that
are used, and the most such fields of a chain."""
VALUES = 2**20
"""About the most numbers in the fields from which layers start."""
LEAST_CHAINS = 16


class Variational(Fields):
    r"""Samples of the flow itself, whose loss is :math:`(\ln q(\phi) + S(\phi)) / n` for n variables.

    Its mean is the Kullback-Leibler divergence from the flow's density q to :math:`e^{-S} / Z`, less :math:`\ln Z`, for
    each variable. Fields of the target beside them have the loss :math:`-(\ln q(\phi) + S(\phi)) / n`, whose mean is
    the divergence from the target to q, plus :math:`\ln Z`.

    Args:
        action: the action S.
        estimator: how the gradient is estimated; see `Settings.estimator`.
        anneal: the part of the run in which S takes the place of the action of uncoupled Gaussian variables.
        alpha: see `Settings.alpha`.
        fields: the number of fields of the target among the examples.

    Raises:
        ValueError: if the action is to change in the run, and there are fields of the target, which do not.
    """

    optimizer = "AdamW"  # Muon is better for phi^4, and worse for angles and double wells

    def __init__(
        self,
        action: ActionLike,
        estimator: str = "path",
        anneal: float = 0.0,
        alpha: float = 0.5,
        fields: int = 0,
    ) -> None:
        if fields and anneal:
            raise InputError("anneal=0 beside fields of the target", str(anneal))
        self.has_fields = fields > 0
        self.compatibility = {"target fields": fields} if fields else {}
        self.action, self.estimator, self.anneal, self.alpha, self.share = action, estimator, anneal, alpha, 1.0

    def advance(self, progress: float) -> None:
        """Set the share of the action."""
        self.share = min(1.0, progress / self.anneal) if self.anneal else 1.0

    def read(self, examples: Examples, keys: Sequence[Key], seed: int) -> tuple[Tensor, Tensor]:
        """Rows of latents or of a field, (B, variables), and for each a random number and whether it holds a field.

        Both are functions of seed, step and row.
        """
        if not isinstance(examples, Draws):
            raise InputError("draws of a prior", type(examples).__name__)
        numbers = sorted({(step, row // CHUNK) for step, row, _ in keys})
        chunks = {number: examples.chunk(seed, *number) for number in numbers}
        rows = torch.stack([chunks[step, row // CHUNK][row % CHUNK] for step, row, _ in keys])
        return rows[:, :-2], rows[:, -2:]

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
        """Samples of the flow, and fields of the target as they are."""
        given = noise[:, 1] > 0
        if not self.has_fields or not given.any():
            return self._samples(flow, examples, noise)
        x = examples.unflatten(1, flow.plan.input.event_shape).clone()
        if not given.all():
            x[~given] = self._samples(flow, examples[~given], noise[~given])
        return x

    def _samples(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """Samples of the flow, from latents."""
        x = underlying(flow).inverse(_levels(flow, examples))[0]
        return flow.transform(x, _choice(flow, noise)) if isinstance(flow, Symmetrized) else x

    def loss(self, flow: Density, examples: Tensor, noise: Tensor, context: Tensor | None) -> Tensor:
        """The loss of each sample of the flow and of each field of the target, (B,), in nats for each variable."""
        n = flow.plan.input.variables
        given = noise[:, 1] > 0
        if not self.has_fields or not given.any():
            return self._of_samples(flow, examples, noise) / n
        losses = noise.new_zeros(len(noise), dtype=log_det_dtype(noise))
        losses[given] = self._of_fields(flow, examples[given], noise[given]).to(losses.dtype)
        if not given.all():
            losses[~given] = self._of_samples(flow, examples[~given], noise[~given]).to(losses.dtype)
        return losses / n

    def _of_fields(self, flow: Density, rows: Tensor, noise: Tensor) -> Tensor:
        """Minus the log-density and the action of fields of the target."""
        x = rows.unflatten(1, flow.plan.input.event_shape)
        if self.estimator != "path" or not torch.is_grad_enabled():
            return -(flow.log_prob(x) + self._target(x))
        if isinstance(flow, Symmetrized):
            with torch.no_grad():
                choice = flow.choose_given(x, noise[:, 0])
            x = flow.transform(_regenerated(flow.flow, flow.image(x, choice)), choice)
        else:
            x = _regenerated(underlying(flow), x)
        return self._path(flow, x, sign=-1)

    def _of_samples(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """The log-density and the action of samples of the flow."""
        if self.estimator == "path" and torch.is_grad_enabled():
            return self._path(flow, self._samples(flow, examples, noise))
        if self.estimator in ("score", "alpha") and torch.is_grad_enabled():
            with torch.no_grad():
                x = self._samples(flow, examples, noise)
            return self._by_score(flow, x)
        z = _levels(flow, examples)
        inside = underlying(flow)
        x, log_det = inside.inverse(z)
        log_q = inside.prior.log_prob(z) - log_det
        if isinstance(flow, Symmetrized):
            choice = _choice(flow, noise)
            x = flow.transform(x, choice)
            log_q = flow.log_prob_given(x, log_q, choice)
        return log_q + self._target(x)

    def _path(self, flow: Density, x: Tensor, sign: int = 1) -> Tensor:
        r"""The path gradient (Roeder et al. 2017, https://arxiv.org/abs/1703.09194): that through the samples alone.

        The other part of the gradient has mean 0, and noise that stays when the flow is exact. For fields of the target
        the same gradient, at the latents that belong to them, is that of the divergence from the target to the flow:
        both lead from the flow's density to the target (Vaitl et al. 2022, https://arxiv.org/abs/2207.08219).

        Args:
            flow: the flow.
            x: fields, which the flow makes from latents.
            sign: 1 for samples of the flow; -1 for fields of the target, whose value is the opposite.
        """
        fixed = x.detach().requires_grad_()
        value = flow.log_prob(fixed) + self._target(fixed)
        (force,) = torch.autograd.grad(value.sum(), fixed)
        along = (force * x).flatten(1).sum(1)
        return sign * value.detach() + along - along.detach()

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


def _regenerated(flow: Flow, x: Tensor) -> Tensor:
    """Data as a function of the weights: the latents of the data, held fixed, are mapped back by the flow."""
    with torch.no_grad():
        z, _ = flow.forward(x)
    return flow.inverse(z)[0]


def _levels(flow: Density, rows: Tensor) -> tuple[Tensor, ...]:
    """Latents as the flow takes them, from rows (B, variables)."""
    latents = underlying(flow).plan.latents
    parts = rows.split([latent.lattice.variables for latent in latents], dim=1)
    return tuple(part.unflatten(1, latent.lattice.event_shape) for part, latent in zip(parts, latents, strict=True))


def _choice(flow: Symmetrized, noise: Tensor) -> Tensor:
    """The numbers of elements, integers (B,), that numbers in [0, 1) choose, all of them with the same probability."""
    n = len(flow.elements)
    return (noise[:, 0] * n).long().clamp(max=n - 1)
