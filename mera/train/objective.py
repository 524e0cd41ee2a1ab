"""The base class of objectives: an objective makes its own batches, and returns the loss of each row of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from mera.flow.density import Density

Batch = tuple[Tensor, ...]
"""Tensors whose first axis is the row of the batch."""


class Objective(ABC):
    """The base class of objectives. The training loop is the same for all of them.

    Attributes:
        name: the name of the examples in messages.
        unit: the unit of the loss.
        metric: the suffix of the names of metrics, as in "test_bits".
        optimizer: the name of the default optimiser.
        size: the number of examples; 0 for an objective without examples.
        facts: what is learnt, by name, in values of JSON: a run of other facts cannot be resumed.
        parts: the names of the tensors of a batch, in the file of a batch that failed.
        is_of_rows: whether the losses of rows are independent of each other, so that their mean has a standard error.
        contexts: the contexts of samples that are shown in training, (N, ...); None for a flow without context.
    """

    name: str
    unit: str
    metric: str
    optimizer: str = "Muon"
    size: int = 0
    facts: Mapping[str, Any] = MappingProxyType({})
    parts: tuple[str, ...] = ()
    is_of_rows: bool = True
    contexts: Tensor | None = None

    @property
    def measured(self) -> str:
        """The data of evaluations, in messages."""
        return f"test {self.name}"

    @abstractmethod
    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Rows of the batch of a step, on the CPU, as a function of the seed, the step and the rows alone.

        Args:
            seed: the seed of the run.
            step: the step, from 1 on; 0 for an evaluation, in which row i is the i-th example.
            rows: indices of rows in the batch of all processes.
        """

    @abstractmethod
    def loss(self, flow: Density, batch: Batch) -> Tensor:
        """The loss of each row per variable, (rows,), in the unit of the objective."""

    @abstractmethod
    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The rows as data in the flow's own space and dtype, (rows, C, *shape); and their contexts."""

    @abstractmethod
    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """About `n` rows of data (B, C, *shape), and their contexts, that initialise normalisation layers."""

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        """Further results of an evaluation, by name.

        Args:
            losses: the losses of all rows, (N,).
        """
        return {}

    def not_finite(self, x: Tensor) -> str | None:
        """The name of a quantity that is infinite or NaN for finite data x, (B, C, *shape); None if all are finite."""
        return None

    def verdict(self, flow: Density) -> str:
        """A sentence about the trained flow in addition to its loss; "" for none."""
        return ""

    def pictures(self, flow: Density, samples: Tensor) -> Tensor:
        """Samples on a lattice of pictures as uint8 images (N, 1 or 3, H, W), stretched over their range."""
        from mera.analysis.drawing.images import stretch

        return stretch(samples)


def is_starting(flow: Density) -> bool:
    """Whether a layer of a flow still has to be initialised from data."""
    return any(not getattr(module, "initialized", True) for module in flow.modules())
