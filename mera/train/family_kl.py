"""Learning a family of actions: each sample of a batch has parameters of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mera._utils.random import seeded
from mera.density import Density
from mera.physics.family import ActionFamily
from mera.physics.verdicts import severity
from mera.train.objective import Batch
from mera.train.reverse_kl import JUDGED, ReverseKL, judged

MASKS = (1, 2, 4, 7, 3, 5, 6)
"""Parameter i is at the lower or the upper end of its range in corner j by the parity of j & MASKS[i % 7]: all corners
of up to three parameters, and of more parameters eight corners, in which every two of seven have all four pairs."""
SHOWN = 64
"""The number of samples that are shown in training, from the smallest parameters to the largest."""


class FamilyKL(ReverseKL):
    """The loss of `ReverseKL`, averaged over parameters that are uniform in their ranges.

    A batch is the noise of the samples, and their contexts.

    Args:
        flow: the flow, with the parameters as its context.
        family: the actions.
        estimator: see `ReverseKL`.
        anneal: see `ReverseKL`.
        alpha: see `ReverseKL`.
    """

    def __init__(
        self, flow: Density, family: ActionFamily, estimator: str = "path", anneal: float = 0.0, alpha: float = 0.5
    ) -> None:
        super().__init__(flow, family.at(**family.middle), estimator, anneal, alpha)
        self.family = family
        self.contexts = torch.linspace(-1, 1, SHOWN)[:, None].expand(SHOWN, len(family.ranges))
        self.parts = (*self.parts, "context")

    def value(self, phi: Tensor, context: Tensor | None) -> Tensor:
        """The action of each field with its own parameters, (B,)."""
        return self.action(phi) if context is None else self.family(phi, context)

    def loss(self, flow: Density, batch: Batch) -> Tensor:
        """The loss of each sample, (rows,), in nats for each variable."""
        *noise, context = batch
        return self.of_samples(flow, tuple(noise), context) / flow.plan.input.variables

    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Noise of the samples, and their contexts."""
        contexts = torch.empty(len(rows), len(self.family.ranges))
        for i, row in enumerate(rows):
            with seeded(seed, step, row, 2):
                contexts[i] = 2 * torch.rand(len(self.family.ranges)) - 1
        return *self._noise(seed, step, rows), contexts

    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Samples of the flow, and their contexts."""
        *noise, context = batch
        return flow.generate(tuple(noise), context), context

    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """Fields of a short run of Hamiltonian Monte Carlo with the middle parameters, and the context of these."""
        phi, _ = super().start(flow, n)
        return phi, self.family.context(**self.family.middle).to(flow.device).expand(len(phi), -1)

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        """The variational free energy in nats, the mean over all parameters."""
        return {"free_energy": losses.mean().item() * flow.plan.input.variables}

    def verdict(self, flow: Density) -> str:
        """The worst verdict on the weights of samples at the middle and at up to 8 corners of the ranges."""
        points, verdicts = [self.family.middle, *corners(self.family.ranges)], []
        for point in points:
            given = flow.given(self.family.context(**point).to(flow.device))
            at = ", ".join(f"{name}={value:g}" for name, value in point.items())
            verdicts.append((judged(given, self.family.at(**point)), at))
        verdict, at = min(verdicts, key=lambda found: severity(found[0]))
        return f"of {JUDGED:,} samples at each of {len(points)} points, the worst with {at}: {verdict}"


def corners(ranges: Mapping[str, tuple[float, float]]) -> list[dict[str, float]]:
    """Corners of the ranges of parameters, at most 8; see `MASKS`.

    >>> corners({"a": (0, 1), "b": (2, 3)})
    [{'a': 0, 'b': 2}, {'a': 1, 'b': 2}, {'a': 0, 'b': 3}, {'a': 1, 'b': 3}]
    """
    return [
        {name: ends[(j & MASKS[i % len(MASKS)]).bit_count() % 2] for i, (name, ends) in enumerate(ranges.items())}
        for j in range(2 ** min(3, len(ranges)))
    ]
