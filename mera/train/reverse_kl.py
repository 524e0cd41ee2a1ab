"""The reverse Kullback-Leibler divergence: learning an action from samples of the flow and fields of the target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.chains.effective_size import effective_number
from mera.data import Examples
from mera.density import Density
from mera.physics.action import Action
from mera.physics.hmc import Trajectories
from mera.physics.target import field_target
from mera.train.objective import Batch, Objective, is_starting, stretched

CHUNK = 16
"""Rows whose noise is drawn together, so that a process which needs a part of a batch draws little more than that."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it are spread evenly over the interval from 0 to 1."""
START, BETWEEN, SNAPSHOTS = 100, 10, 8
"""Layers start from fields of Hamiltonian Monte Carlo: trajectories before, trajectories between fields of a chain that
are used, and the most such fields of a chain."""
VALUES = 2**20
"""About the most numbers in the fields from which layers start."""
LEAST_CHAINS = 16


class ReverseKL(Objective):
    r"""The loss :math:`(\ln q(\phi) + S(\phi)) / n` of samples :math:`\phi = G(z)` of the flow, for n variables.

    Its mean is the Kullback-Leibler divergence from the flow's density q to :math:`e^{-S} / Z`, less :math:`\ln Z`, for
    each variable. Fields of the target have the loss :math:`-(\ln q(\phi) + S(\phi)) / n`, whose mean is the divergence
    from the target to q, plus :math:`\ln Z`. A batch is the noise of the samples; with fields, then the fields, and a
    number in [0, 1) for each.

    Args:
        flow: the flow, whose noise batches hold.
        action: the action S.
        estimator: how the gradient is estimated; see `Settings.estimator`.
        anneal: the part of the run in which S takes the place of the action of uncoupled Gaussian variables.
        alpha: see `Settings.alpha`.
        fields: fields of the target, (C, *shape) each; None for samples alone.
        share: the part of the rows that are fields, 0 to 1, if there are any.

    Raises:
        InputError: if the action is to change in the run, and there are fields of the target, which do not.
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
        losses = []
        if len(noise[0]):
            losses.append(self._of_samples(flow, noise))
        if fields and len(fields[0]):
            losses.append(self._of_fields(flow, *fields))
        return torch.cat(losses) / flow.plan.input.variables

    def _of_samples(self, flow: Density, noise: Batch) -> Tensor:
        r""":math:`\ln q + S` of samples of the flow."""
        if not torch.is_grad_enabled() or self.estimator == "total":
            phi, log_q = flow.generate_with_log_prob(noise)
            return log_q + self._target(phi)
        if self.estimator == "path":
            return self._path(flow, flow.generate(noise))
        with torch.no_grad():
            phi = flow.generate(noise)
        return self._score(flow, phi)

    def _of_fields(self, flow: Density, phi: Tensor, uniform: Tensor) -> Tensor:
        r""":math:`-(\ln q + S)` of fields of the target."""
        if torch.is_grad_enabled() and self.estimator == "path":
            return self._path(flow, flow.regenerate(phi, uniform), sign=-1)
        return -(flow.log_prob(phi) + self._target(phi))

    def _path(self, flow: Density, phi: Tensor, sign: int = 1) -> Tensor:
        r"""The path gradient (Roeder et al. 2017, https://arxiv.org/abs/1703.09194): that through the samples alone.

        The other part of the gradient has mean 0, and noise that stays when the flow is exact. For fields of the target
        the same gradient, at the latents that belong to them, is that of the divergence from the target to the flow:
        both lead from the flow's density to the target (Vaitl et al. 2022, https://arxiv.org/abs/2207.08219).

        Args:
            flow: the flow.
            phi: fields, which the flow makes from noise.
            sign: 1 for samples of the flow; -1 for fields of the target, whose value is the opposite.
        """
        fixed = phi.detach().requires_grad_()
        value = flow.log_prob(fixed) + self._target(fixed)
        (force,) = torch.autograd.grad(value.sum(), fixed)
        along = (force * phi).flatten(1).sum(1)
        return sign * value.detach() + along - along.detach()

    def _score(self, flow: Density, phi: Tensor) -> Tensor:
        r"""A gradient through the density alone: a factor for each sample, times the score :math:`\nabla \ln q`.

        For the Kullback-Leibler divergence the factor is the value against the mean of the other samples (RLOO, Kool et
        al. 2019). The Rényi divergence :math:`\ln \int p^\alpha q^{1 - \alpha} / (\alpha (\alpha - 1))`, with which the
        alpha-divergence grows, has the factor :math:`-w^\alpha / \alpha` for normalised :math:`w^\alpha` of the weights
        :math:`w = e^{-S} / q`; its mean is subtracted. Means and norm are those of the same part of a batch and of the
        same process.
        """
        if len(phi) < 2:
            raise InputError("at least 2 samples in each part of a batch, for the score function", str(len(phi)))
        log_q = flow.log_prob(phi)
        value = log_q.detach() + self._target(phi)
        if self.estimator == "alpha":
            factor = (1 - len(value) * (-self.alpha * value).softmax(0)) / self.alpha
        else:
            factor = value - (value.sum() - value) / (len(value) - 1)
        surrogate = factor * log_q
        return value + surrogate - surrogate.detach()

    def _target(self, phi: Tensor) -> Tensor:
        """The action in this step, (B,)."""
        if self.weight == 1:
            return self.action(phi)
        uncoupled = 0 if self.action.is_compact else phi.square().flatten(1).sum(1) / 2
        return self.weight * self.action(phi) + (1 - self.weight) * uncoupled

    def advance(self, progress: float) -> None:
        """Set the weight of the action."""
        self.weight = min(1.0, progress / self.anneal) if self.anneal else 1.0

    # Batches

    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Noise, and fields in the rows that hold one."""
        if self.fields is None:
            return self._noise(seed, step, rows)
        held = [row for row in rows if self._holds_field(step, row)]
        like = torch.empty(0, dtype=self.flow.dtype)
        fields, uniform = [like.new_empty(0, *self.flow.plan.input.event_shape)], like.new_empty(len(held))
        for i, row in enumerate(held):
            with seeded(seed, step, row, 1):
                fields.append(self.fields[int(torch.randint(len(self.fields), ()))].to(like)[None])
                uniform[i] = torch.rand(())
        return *self._noise(seed, step, [row for row in rows if row not in set(held)]), torch.cat(fields), uniform

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
        """Whether a row is a field; such rows are spread evenly, so that each part of a batch has its share of them."""
        start = step * GOLDEN % 1  # so that small batches too have their share over the steps
        return math.floor((row + 1) * self.share + start) > math.floor(row * self.share + start)

    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Samples of the flow, and behind them fields of the target."""
        samples = flow.generate(batch[: self._tensors])
        return torch.cat([samples, *batch[self._tensors : self._tensors + 1]]), None

    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """Fields of a short run of Hamiltonian Monte Carlo; noise if no layer starts from data."""
        lattice = flow.plan.input
        chains = min(n, max(LEAST_CHAINS, VALUES // lattice.variables))
        phi = torch.randn(chains, *lattice.event_shape).to(flow.device, flow.dtype)
        if not is_starting(flow):
            return phi, None
        target = field_target(self.action, lattice.event_shape)
        trajectories, snapshots = Trajectories(target, length=1.0), []
        with torch.no_grad():
            row, _ = trajectories.run(phi.flatten(1), START, tune=True)
            for _ in range(max(1, min(SNAPSHOTS, VALUES // (chains * lattice.variables)))):
                row, _ = trajectories.run(row, BETWEEN)
                snapshots.append(target.to_fields(row))
        return torch.cat(snapshots), None

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        """The effective sample size, from 0 to 1, and the variational free energy in nats, a bound of -ln Z."""
        actions = losses * flow.plan.input.variables
        return {"ess": effective_number(-actions).item() / len(actions), "free_energy": actions.mean().item()}

    def not_finite(self, x: Tensor) -> str | None:
        """Whether the action of samples is finite."""
        return None if self.action(x).isfinite().all() else "the action"

    def pictures(self, flow: Density, samples: Tensor) -> Tensor | None:
        """Samples as images, stretched over their range."""
        return stretched(flow, samples)
