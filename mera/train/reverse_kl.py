"""The reverse Kullback-Leibler divergence: learning an action from samples of the flow and fields of the target."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed, seeded
from mera.chains.effective_size import effective_number
from mera.data import Examples
from mera.density import Density
from mera.physics.action import Action
from mera.physics.reweighting import estimate
from mera.physics.short_run import fields_of, is_differentiable, short_run
from mera.physics.verdicts import pareto_k
from mera.train.objective import Batch, Objective, is_starting

CHUNK = 16
"""Rows whose noise is drawn together, so that a process with a part of a batch draws little more than its own noise."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""The golden ratio less 1, whose multiples modulo 1 are spread evenly over the interval from 0 to 1."""
SNAPSHOTS = 8
"""The most fields of a chain of Hamiltonian Monte Carlo from which layers are initialised."""
VALUES = 2**20
"""Approximate upper limit of the numbers in the fields from which layers are initialised."""
LEAST_CHAINS = 16
JUDGED = 2000
"""The number of samples whose weights are judged at the end of a run."""


class ReverseKL(Objective):
    r"""The loss :math:`(\ln q(\phi) + S(\phi)) / n` of samples :math:`\phi = G(z)` of the flow, for n variables.

    Its mean is the Kullback-Leibler divergence from the flow's density q to :math:`e^{-S} / Z`, minus :math:`\ln Z`,
    per variable. Fields of the target have the loss :math:`-(\ln q(\phi) + S(\phi)) / n`, whose mean is the divergence
    from the target to q, plus :math:`\ln Z`, per variable. A batch is the noise of the samples, followed, if there are
    fields of the target, by the fields and a uniform number in [0, 1) for each field.

    Args:
        action: the action S.
        estimator: how the gradient is estimated; see `Settings.estimator`.
        anneal: the fraction of the run in which S gradually replaces the action of uncoupled Gaussian variables.
        alpha: see `Settings.alpha`.
        fields: fields of the target, (C, *shape) each; None for samples alone.
        share: the fraction of the rows that are fields of the target, 0 to 1, if there are fields.

    Raises:
        ValueError: if `anneal` is not 0 although there are fields of the target, which belong to the final action.
    """

    name, unit, metric = "fields", "nats/variable", "nats"
    optimizer = "AdamW"  # Muon is better for phi^4, and worse for angles and double wells

    def __init__(
        self,
        flow: Density,
        action: Action,
        estimator: str = "path",
        anneal: float = 0.0,
        alpha: float = 0.5,
        fields: Examples | None = None,
        share: float = 0.5,
    ) -> None:
        if fields is not None and anneal:
            raise InputError("anneal=0 beside fields of the target", str(anneal))
        self.flow, self.action, self.fields, self.share = flow, action, fields, share
        self.estimator, self.anneal, self.alpha, self.weight = estimator, anneal, alpha, 1.0
        self.compatibility = {} if fields is None else {"target fields": len(fields)}
        self._tensors = len(flow.draw_noise(0))
        noise = [f"noise{i}" for i in range(self._tensors)]
        self.parts = (*noise, "fields", "uniform") if fields is not None else tuple(noise)

    def loss(self, flow: Density, batch: Batch) -> Tensor:
        """The loss of each sample, then of each field, (rows,), in nats for each variable."""
        noise, fields = batch[: self._tensors], batch[self._tensors :]
        # no list.append(...) around the calls: a graph break inside would make torch.compile compile each step again
        of_samples = self.of_samples(flow, noise) if len(noise[0]) else noise[0].new_empty(0)
        of_fields = self._of_fields(flow, *fields) if fields and len(fields[0]) else noise[0].new_empty(0)
        return torch.cat([of_samples, of_fields]) / flow.plan.input.variables

    def of_samples(self, flow: Density, noise: Batch, context: Tensor | None = None) -> Tensor:
        r""":math:`\ln q + S` of samples of the flow, (rows,).

        Args:
            flow: the flow.
            noise: the noise of the samples.
            context: the contexts of the samples; None for a flow without context.
        """
        if not torch.is_grad_enabled() or self.estimator == "total":
            phi, log_q = flow.generate_with_log_prob(noise, context)
            return log_q + self._target(phi, context)
        if self.estimator == "path":
            return self._path(flow, flow.generate(noise, context), context)
        with torch.no_grad():
            phi = flow.generate(noise, context)
        return self._score(flow, phi, context)

    def _of_fields(self, flow: Density, phi: Tensor, uniform: Tensor) -> Tensor:
        r""":math:`-(\ln q + S)` of fields of the target."""
        if torch.is_grad_enabled() and self.estimator == "path":
            return self._path(flow, flow.regenerate(phi, uniform), sign=-1)
        return -(flow.log_prob(phi) + self._target(phi))

    def _path(self, flow: Density, phi: Tensor, context: Tensor | None = None, sign: int = 1) -> Tensor:
        r"""The path gradient, through the samples alone (Roeder et al. 2017, https://arxiv.org/abs/1703.09194).

        The omitted part of the gradient has mean 0, and noise that remains even if the flow is exact. For fields of the
        target, the path gradient at the latents of the fields is the gradient of the divergence from the target to the
        flow (Vaitl et al. 2022, https://arxiv.org/abs/2207.08219).

        Args:
            phi: fields as a differentiable function of the flow's parameters, (B, C, *shape).
            context: the contexts of the fields; None for a flow without context.
            sign: 1 for samples of the flow; -1 for fields of the target, whose loss has the opposite sign.
        """
        fixed = phi.detach().requires_grad_()
        value = flow.log_prob(fixed, context) + self._target(fixed, context)
        (force,) = torch.autograd.grad(value.sum(), fixed)
        surrogate = (force * phi).flatten(1).sum(1)
        return sign * value.detach() + surrogate - surrogate.detach()

    def _score(self, flow: Density, phi: Tensor, context: Tensor | None) -> Tensor:
        r"""A gradient through the density alone: a factor for each sample, times the score :math:`\nabla \ln q`.

        For the Kullback-Leibler divergence the factor is the value minus the mean of the other samples (RLOO, Kool et
        al. 2019). The Rényi divergence :math:`\ln \int p^\alpha q^{1 - \alpha} / (\alpha (\alpha - 1))`, with which the
        alpha-divergence grows, has the factor :math:`-w^\alpha / \alpha` for normalised :math:`w^\alpha` of the weights
        :math:`w = e^{-S} / q`; its mean is subtracted. Means and norms are taken over one micro-batch of one process.
        """
        if len(phi) < 2:
            raise InputError("at least 2 samples in each part of a batch, for the score function", str(len(phi)))
        log_q = flow.log_prob(phi, context)
        value = log_q.detach() + self._target(phi, context)
        if self.estimator == "alpha":
            factor = (1 - len(value) * (-self.alpha * value).softmax(0)) / self.alpha
        else:
            factor = value - (value.sum() - value) / (len(value) - 1)
        surrogate = factor * log_q
        return value + surrogate - surrogate.detach()

    def _target(self, phi: Tensor, context: Tensor | None = None) -> Tensor:
        """The action in this step, (B,)."""
        if self.weight == 1:
            return self.value(phi, context)
        uncoupled = 0 if self.action.is_compact else phi.square().flatten(1).sum(1) / 2
        return self.weight * self.value(phi, context) + (1 - self.weight) * uncoupled

    def value(self, phi: Tensor, context: Tensor | None) -> Tensor:
        """The action of fields, (B,), whatever the context is."""
        return self.action(phi)

    @property
    def is_final(self) -> bool:
        """Whether the action has replaced that of uncoupled Gaussian variables."""
        return self.weight == 1

    def advance(self, progress: float) -> None:
        """Set the weight of the action."""
        self.weight = min(1.0, progress / self.anneal) if self.anneal else 1.0

    # Batches

    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Noise of the samples, and fields of the target for the rows that hold a field."""
        if self.fields is None:
            return self._noise(seed, step, rows)
        field_rows = [row for row in rows if self._holds_field(step, row)]
        like = torch.empty(0, dtype=self.flow.dtype)
        fields, uniform = [like.new_empty(0, *self.flow.plan.input.event_shape)], like.new_empty(len(field_rows))
        for i, row in enumerate(field_rows):
            with seeded(seed, step, row, 1):
                fields.append(self.fields[int(torch.randint(len(self.fields), ()))].to(like)[None])
                uniform[i] = torch.rand(())
        sample_rows = [row for row in rows if row not in set(field_rows)]
        return *self._noise(seed, step, sample_rows), torch.cat(fields), uniform

    def _noise(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """The noise of rows, drawn for whole chunks of rows."""
        numbers = sorted({row // CHUNK for row in rows})
        chunks = []
        for number in numbers:
            with seeded(seed, step, number):
                chunks.append(self.flow.draw_noise(CHUNK, device="cpu"))
        if not chunks:
            return self.flow.draw_noise(0, device="cpu")
        index = torch.tensor([numbers.index(row // CHUNK) * CHUNK + row % CHUNK for row in rows])
        return tuple(torch.cat(parts)[index] for parts in zip(*chunks, strict=True))

    def _holds_field(self, step: int, row: int) -> bool:
        """Whether a row holds a field; fields are spread evenly, so that each micro-batch has its share of fields."""
        start = step * GOLDEN % 1  # so that small batches have the right share on average over the steps
        return math.floor((row + 1) * self.share + start) > math.floor(row * self.share + start)

    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Samples of the flow, followed by fields of the target."""
        samples = flow.generate(batch[: self._tensors])
        return torch.cat([samples, *batch[self._tensors : self._tensors + 1]]), None

    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """Fields of a short run of Hamiltonian Monte Carlo, from which layers start.

        Noise if no layer has to start, the action is not differentiable, or it is not finite in the run.
        """
        lattice = flow.plan.input
        chains = min(n, max(LEAST_CHAINS, VALUES // lattice.variables))
        phi = torch.randn(chains, *lattice.event_shape).to(flow.device, flow.dtype)
        if not is_starting(flow) or not is_differentiable(self.action, phi):
            return phi, None
        with suppress(FloatingPointError):  # the first steps say where the action is not finite
            phi = short_run(self.action, phi, max(1, min(SNAPSHOTS, VALUES // (chains * lattice.variables))))
        return phi, None

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        r"""The effective sample size (0 to 1), the Pareto k of 100 samples or more, and the variational free energy.

        The free energy is in nats, with its standard error, and an upper bound of :math:`-\ln Z`.
        """
        actions = losses * flow.plan.input.variables
        metrics = {"ess": effective_number(-actions).item() / len(actions), "free_energy": actions.mean().item()}
        if len(actions) > 1:
            metrics["free_energy_error"] = actions.std().item() / math.sqrt(len(actions))
        k = pareto_k(-actions)
        return metrics if math.isnan(k) else metrics | {"pareto_k": k}

    @torch.no_grad()
    def verdict(self, flow: Density) -> str:
        """The verdict on the weights of samples, beside fields of the target from a short run."""
        return f"of {JUDGED:,} samples, {judged(flow, self.action)}"

    def not_finite(self, x: Tensor) -> str | None:
        """The words "the action" if the action of a sample is not finite; None otherwise."""
        return None if self.action(x).isfinite().all() else "the action"


@torch.no_grad()
def judged(flow: Density, action: Action) -> str:
    """The verdict on the weights of `JUDGED` samples of a flow, beside fields of the target from a short run."""
    fields = fields_of(action, flow)
    with fixed_seed(0), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the verdict is returned
        return estimate(flow, action, JUDGED, fields=fields).verdict
