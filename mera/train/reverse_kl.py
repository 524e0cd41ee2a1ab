"""The reverse Kullback-Leibler divergence: learning an action, or a family of actions, from samples of the flow."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed, restored_states, seed_cpu
from mera.flow.density import Density
from mera.physics.action import ActionFamily
from mera.physics.flow_samplers import estimate
from mera.physics.target import MIN_CHAINS, Target
from mera.sampling.verdict import Verdict
from mera.sampling.weights import effective_number, pareto_k
from mera.train.batches import Batch, Objective

ROWS_PER_SEED = 16
"""Rows whose noise is drawn together, so that a process with a part of a batch draws little more than its own noise."""
MAX_SNAPSHOTS = 8
"""The most fields of a chain of Hamiltonian Monte Carlo from which layers are initialised."""
MAX_START_VALUES = 2**20
"""Approximate upper limit of the numbers in the fields from which layers are initialised."""
VERDICT_SAMPLES = 2000
"""The number of samples whose weights are judged at the end of a run."""
SHOWN_SAMPLES = 64
"""The number of samples that are shown in training, from the smallest parameters of a family to the largest."""
CORNER_MASKS = (1, 2, 4, 7, 3, 5, 6)
"""Parameter i is at the lower or the upper end of its range in corner j by the parity of j & CORNER_MASKS[i % 7]: all
corners of up to three parameters, or eight corners, in which every two of seven parameters have all four pairs."""


class ReverseKL(Objective):
    r"""The loss :math:`(\ln q(\phi) + S(\phi)) / n` of samples :math:`\phi = G(z)` of the flow, for n variables.

    Its mean is the Kullback-Leibler divergence from the flow's density q to :math:`e^{-S} / Z`, minus :math:`\ln Z`,
    per variable; for a family of actions it is averaged over parameters that are uniform in their ranges. A batch is
    the noise of the samples, followed for a family by their contexts.

    Args:
        flow: the flow; for a family, with the parameters as its context.
        target: the target of the action S, of a family that of the action in the middle of the ranges.
        family: the family of actions; None for a single action.

    Raises:
        ValueError: if the action has no gradient, from which the flow would silently learn its own entropy alone.
    """

    name, unit, metric = "fields", "nats/variable", "nats"
    optimizer = "AdamW"  # Muon is better for phi^4, and worse for double wells and for angles in couplings

    def __init__(self, flow: Density, target: Target, family: ActionFamily | None = None) -> None:
        self.flow, self.target, self.family, self.action = flow, target, family, target.action
        if not target.is_differentiable:
            raise InputError(
                "an action with a gradient, computed by operations of torch on the field itself, without detach, numpy "
                "or torch.no_grad",
                f"{self.action!r}, which has none",
            )
        if self.family is not None:
            self.contexts = torch.linspace(-1, 1, SHOWN_SAMPLES)[:, None].expand(SHOWN_SAMPLES, len(self.family.ranges))

    @property
    def facts(self) -> dict[str, Any]:  # type: ignore[override]
        """The action, or the family, as text, and its values at a few fields."""
        with torch.no_grad():
            values = [f"{value:.4g}" for value in self.target.fingerprint().tolist()]
        subject = self.action if self.family is None else self.family
        return {"target": re.sub(r" at 0x[0-9a-f]+", "", repr(subject)), "values of the action": values}

    def loss(self, flow: Density, batch: Batch) -> Tensor:
        """The loss of each sample, (rows,), in nats for each variable, with the gradient through the samples alone.

        The omitted part of the gradient has mean 0, and noise that remains even if the flow is exact (Roeder et al.
        2017, https://arxiv.org/abs/1703.09194).
        """
        noise, context = self._split(batch)
        if not torch.is_grad_enabled():
            phi, log_q = flow.generate_with_log_prob(noise, context)
            return (log_q + self._value(phi, context)) / flow.plan.input.variables
        phi = flow.generate(noise, context)
        fixed = phi.detach().requires_grad_()
        value = flow.log_prob(fixed, context) + self._value(fixed, context)
        (force,) = torch.autograd.grad(value.sum(), fixed)
        surrogate = (force * phi).flatten(1).sum(1)
        return (value.detach() + surrogate - surrogate.detach()) / flow.plan.input.variables

    def _split(self, batch: Batch) -> tuple[Batch, Tensor | None]:
        """The noise of samples, and their contexts."""
        return (batch, None) if self.family is None else (batch[:-1], batch[-1])

    def _value(self, phi: Tensor, context: Tensor | None) -> Tensor:
        """The action of each field, (B,), in a family with its own parameters."""
        return self.action(phi) if self.family is None or context is None else self.family(phi, context)

    @property
    def measured(self) -> str:
        """Samples of the flow, in messages."""
        return "samples"

    # Batches

    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Noise of the samples, and in a family their contexts."""
        noise = self._noise(seed, step, rows)
        if self.family is None:
            return noise
        contexts = torch.empty(len(rows), len(self.family.ranges))
        with restored_states():
            for i, row in enumerate(rows):
                seed_cpu(seed, step, row, 2)
                contexts[i] = 2 * torch.rand(len(self.family.ranges)) - 1
        return *noise, contexts

    def _noise(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """The noise of rows, drawn for whole chunks of rows."""
        numbers = sorted({row // ROWS_PER_SEED for row in rows})
        chunks = []
        with restored_states():
            for number in numbers:
                seed_cpu(seed, step, number)
                chunks.append(self.flow.draw_noise(ROWS_PER_SEED, device="cpu"))
        if not chunks:
            return self.flow.draw_noise(0, device="cpu")
        places = [divmod(row, ROWS_PER_SEED) for row in rows]
        index = torch.tensor([numbers.index(number) * ROWS_PER_SEED + row for number, row in places])
        return tuple(torch.cat(parts)[index] for parts in zip(*chunks, strict=True))

    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Samples of the flow, and their contexts."""
        noise, context = self._split(batch)
        return flow.generate(noise, context), context

    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """Fields of a short run of Hamiltonian Monte Carlo, from which layers start, in a family at its middle.

        Noise if no layer has to start, or the action is not finite in the run.
        """
        lattice = flow.plan.input
        chains = min(n, max(MIN_CHAINS, MAX_START_VALUES // lattice.variables))
        phi = torch.randn(chains, *lattice.event_shape).to(flow.device, flow.dtype)
        if any(not getattr(module, "initialized", True) for module in flow.modules()):
            with suppress(FloatingPointError):  # the first steps say where the action is not finite
                snapshots = min(MAX_SNAPSHOTS, MAX_START_VALUES // (chains * lattice.variables))
                phi = self.target.short_run(phi, max(1, snapshots))
        family = self.family
        return phi, None if family is None else family.context(**family.middle).to(flow.device).expand(len(phi), -1)

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        r"""The effective sample size (0 to 1), the Pareto k of 100 samples or more, and the variational free energy.

        The free energy is in nats, with its standard error, and an upper bound of :math:`-\ln Z`. Of a family there is
        only the mean of the free energy over all parameters.
        """
        actions = losses * flow.plan.input.variables
        if self.family is not None:
            return {"free_energy": actions.mean().item()}
        metrics = {"ess": effective_number(-actions).item() / len(actions), "free_energy": actions.mean().item()}
        if len(actions) > 1:
            metrics["free_energy_error"] = actions.std().item() / math.sqrt(len(actions))
        k = pareto_k(-actions)
        return metrics if math.isnan(k) else metrics | {"pareto_k": k}

    def verdict(self, flow: Density) -> str:
        """The verdict on the weights of samples, in a family the worst at the middle and up to 8 corners of the ranges.

        Weights are judged together with fields of the target from a short run.
        """
        if self.family is None:
            return f"of {VERDICT_SAMPLES:,} samples, {_judged(flow, self.target)}"
        points, verdicts = [self.family.middle, *corners(self.family.ranges)], []
        for point in points:
            conditioned = flow.given(self.family.context(**point).to(flow.device))
            at = ", ".join(f"{name}={value:g}" for name, value in point.items())
            verdicts.append((_judged(conditioned, self.family.at(**point)), at))
        verdict, at = min(verdicts, key=lambda pair: pair[0].trust)
        return f"of {VERDICT_SAMPLES:,} samples at each of {len(points)} points, the worst with {at}: {verdict}"

    def not_finite(self, x: Tensor) -> str | None:
        """The words "the action" if the action of a sample is not finite; None otherwise."""
        return None if self.action(x).isfinite().all() else "the action"


@torch.no_grad()
def _judged(flow: Density, action: Any) -> Verdict:
    """The verdict on `VERDICT_SAMPLES` samples of a flow."""
    with fixed_seed(0), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the verdict is returned
        return estimate(flow, action, VERDICT_SAMPLES).verdict


def corners(ranges: Mapping[str, tuple[float, float]]) -> list[dict[str, float]]:
    """Corners of the ranges of parameters, at most 8; see `CORNER_MASKS`.

    >>> corners({"a": (0, 1), "b": (2, 3)})
    [{'a': 0, 'b': 2}, {'a': 1, 'b': 2}, {'a': 0, 'b': 3}, {'a': 1, 'b': 3}]
    """
    masks = {name: CORNER_MASKS[i % len(CORNER_MASKS)] for i, name in enumerate(ranges)}
    return [
        {name: ends[(j & masks[name]).bit_count() % 2] for name, ends in ranges.items()}
        for j in range(2 ** min(3, len(ranges)))
    ]
