"""The kinds of examples that flows learn from: how an example becomes data of a flow, and the unit of its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import default_collate

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.bijectors import with_noise
from mera.data import Examples, first
from mera.density import Density

__all__ = ["ESTIMATORS", "FIELDS", "IMAGES", "Fields", "Key", "Kind", "OwnLoss", "example_and_noise", "kind_of"]

Key = tuple[int, int, int]
"""Step, row in the batch, index of the example."""
ESTIMATORS = ("path", "total", "score", "alpha")
"""Estimators of the gradient when a flow learns from an action; see `Settings.estimator`."""


class Kind(ABC):
    """A kind of examples. The training loop is the same for all kinds; what differs stands here."""

    name: ClassVar[str]
    """What messages call the examples."""
    unit: ClassVar[str]
    """The unit of the loss."""
    metric: ClassVar[str]
    """The end of the names of metrics, as in "test_bits"."""
    optimizer: ClassVar[str] = "Muon"
    """The optimiser, unless the settings name one."""
    compatibility: Mapping[str, Any] = MappingProxyType({})
    """What else a saved state depends on, by name: a run with other values does not go on from it."""

    def noise(self, example: Tensor) -> Tensor:
        """Draw the noise that one example needs at each use; none unless a kind says otherwise.

        Args:
            example: the example, without a batch axis.
        """
        return torch.empty(0)

    def read(self, examples: Examples, keys: Sequence[Key], seed: int) -> tuple[Tensor, Tensor]:
        """The examples and the noise of a batch, (B, ...) each, as functions of the seed and the keys.

        Args:
            examples: the data set.
            keys: for each row its step, its place in the batch of all processes, and the index of its example.
            seed: the seed of the run.
        """
        pairs = [example_and_noise(examples, self, index, seed, step, row) for step, row, index in keys]
        values, noise = default_collate(pairs)
        return values, noise

    def start(self, flow: Density, examples: Examples, n: int) -> Tensor:
        """Data in the flow's own space from which normalisation layers start, (B, C, *shape).

        Args:
            flow: the flow.
            examples: the data set.
            n: the number of examples; fewer if there are fewer.
        """
        values = first(examples, n)
        noise = torch.stack([self.noise(value) for value in values]).to(flow.device)
        return self.to_data(flow, values.to(flow.device), noise)

    def advance(self, progress: float) -> None:  # noqa: B027, most kinds stay the same
        """Called before each step of training, and before each evaluation with 1: for a loss that changes in a run.

        Args:
            progress: the part of the run that is over, 0 to 1.
        """

    def metrics(self, losses: Tensor, flow: Density) -> dict[str, float]:
        """What an evaluation tells beside the mean loss, by name.

        Args:
            losses: the losses of all examples, (N,).
            flow: the flow.
        """
        return {}

    def not_finite(self, x: Tensor) -> str | None:
        """What of the kind is infinite or NaN for finite data; None if nothing is.

        Args:
            x: data in the flow's own space.
        """
        return None

    @abstractmethod
    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """Examples in the flow's own space and dtype, (B, C, *shape).

        Args:
            flow: the flow.
            examples: a batch of examples.
            noise: their noise.
        """

    @abstractmethod
    def loss(self, flow: Density, examples: Tensor, noise: Tensor, context: Tensor | None) -> Tensor:
        """The negative log-likelihood of each example, (B,), for each variable, in the unit of the kind.

        Args:
            flow: the flow.
            examples: a batch of examples.
            noise: their noise.
            context: contexts of a conditional flow, (B, ...).
        """

    @abstractmethod
    def pictures(self, flow: Density, samples: Tensor) -> Tensor | None:
        """Samples of a flow as uint8 images (N, 1 or 3, H, W); None if they are no pictures.

        Args:
            flow: the flow.
            samples: samples in the flow's own space.
        """


class _Images(Kind):
    """uint8 images, which are dequantised; the log-det of the preprocessing counts."""

    name, unit, metric = "images", "bits/dim", "bits"

    def noise(self, example: Tensor) -> Tensor:
        return torch.rand(example.shape)

    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        return flow.preprocess(with_noise(examples, noise))[0].to(flow.dtype)

    def loss(self, flow: Density, examples: Tensor, noise: Tensor, context: Tensor | None) -> Tensor:
        return flow.bits_per_dim(examples, context, noise=noise)

    def pictures(self, flow: Density, samples: Tensor) -> Tensor | None:
        return flow.to_images(samples) if _are_pictures(flow) else None


class Fields(Kind):
    """Real fields, which are data of the flow as they are."""

    name, unit, metric = "fields", "nats/variable", "nats"

    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """The fields in the flow's dtype."""
        return examples.to(flow.dtype)

    def loss(self, flow: Density, examples: Tensor, noise: Tensor, context: Tensor | None) -> Tensor:
        """The negative log-likelihood of each field, (B,), in nats for each variable."""
        return -flow.log_prob(examples.to(flow.dtype), context) / flow.plan.input.variables

    def pictures(self, flow: Density, samples: Tensor) -> Tensor | None:
        """Samples as images, stretched over their range."""
        from mera.drawing.images import stretch

        return stretch(samples) if _are_pictures(flow) else None


def _are_pictures(flow: Density) -> bool:
    """Whether samples have the shape of images."""
    return flow.plan.input.dim == 2 and flow.plan.input.channels in (1, 3)


class OwnLoss(Kind):
    """Examples of another kind, with a loss of the user's own.

    Args:
        kind: the kind of the examples.
        function: `function(flow, batch)`, where a batch is data in the flow's own space, (B, C, *shape), or for a
            conditional flow a pair of data and contexts; returns a number, or one for each example.
    """

    unit, metric = "loss", "loss"

    def __init__(self, kind: Kind, function: Callable[[Density, Any], Tensor]) -> None:
        self.kind, self.function = kind, function
        self.name = kind.name  # type: ignore[misc]

    def noise(self, example: Tensor) -> Tensor:
        """Draw the noise of an example of the kind."""
        return self.kind.noise(example)

    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """Examples of the kind in the flow's own space."""
        return self.kind.to_data(flow, examples, noise)

    def loss(self, flow: Density, examples: Tensor, noise: Tensor, context: Tensor | None) -> Tensor:
        """The user's loss, (B,).

        Raises:
            ValueError: if the function returns anything but a number, or one for each example.
        """
        x = self.to_data(flow, examples, noise)
        value = self.function(flow, x if context is None else (x, context))
        if not isinstance(value, Tensor) or tuple(value.shape) not in ((), (len(x),)):
            got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"a loss that is a scalar or one number for each of {len(x)} examples", got)
        return value.expand(len(x))

    def pictures(self, flow: Density, samples: Tensor) -> Tensor | None:
        """Samples as the kind shows them."""
        return self.kind.pictures(flow, samples)


IMAGES: Kind = _Images()
FIELDS: Kind = Fields()


def kind_of(example: object) -> Kind:
    """The kind of an example: an image if it is uint8, a field if it holds floats.

    Args:
        example: one example of a data set.

    Raises:
        ValueError: if the example is neither.
    """
    if isinstance(example, Tensor) and example.dtype == torch.uint8:
        return IMAGES
    if isinstance(example, Tensor) and example.is_floating_point():
        return FIELDS
    got = str(example.dtype) if isinstance(example, Tensor) else type(example).__name__
    raise InputError("examples that are uint8 images or fields of floats", str(got))


def example_and_noise(examples: Examples, kind: Kind, index: int, *seeds: int) -> tuple[Tensor, Tensor]:
    """An example and the noise that it needs, both functions of the seeds alone.

    Args:
        examples: the data set.
        kind: the kind of its examples.
        index: the index of the example.
        *seeds: integers, such as a seed, a step and a row.
    """
    with seeded(*seeds):
        example = examples[index]
        return example, kind.noise(example)
