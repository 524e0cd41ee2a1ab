"""Likelihoods of images and of fields, and a user's own loss in place of a likelihood."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from mera._utils.errors import InputError
from mera._utils.random import restored_states, seed_cpu
from mera.bijectors import with_noise
from mera.data import Examples, class_numbers, labels
from mera.flow.density import Density
from mera.train.batches import Batch, Objective, Order

UserLoss = Callable[[Density, Any], Tensor]
"""A user's own loss; see `Likelihood`."""


class Likelihood(Objective):
    """The negative log-likelihood of examples. A batch is examples, their noise, and for a conditional flow contexts.

    Args:
        examples: the data set; its random augmentation, such as flips, is as repeatable as the noise.
        contexts: the context of each example, (N, ...); None for a flow without context.
        order: the order in which examples fill the rows of the steps; None if row i is the i-th example.
        user_loss: replaces the likelihood, `user_loss(flow, batch)`, where a batch is data in the flow's own
            space, (B, C, *shape), or for a conditional flow a pair of data and contexts; returns a scalar, or one
            number for each example.
    """

    @property
    def measured(self) -> str:
        """The data of evaluations, in messages; errors of windows are over pictures."""
        pictures = getattr(self.examples, "pictures", None)
        number = 0 if pictures is None else len(pictures.unique())
        return super().measured + (f", error over {number} pictures" if number > 1 else "")

    def __init__(
        self,
        examples: Examples,
        contexts: Tensor | None = None,
        order: Order | None = None,
        user_loss: UserLoss | None = None,
    ) -> None:
        self.examples, self.contexts, self.order, self.size = examples, contexts, order, len(examples)
        self.user_loss = user_loss
        if user_loss is not None:
            self.unit, self.metric, self.is_of_rows = "loss", "loss", False  # it may be one number for a batch

    def batch(self, seed: int, step: int, rows: Sequence[int]) -> Batch:
        """Examples with noise, each a function of seed, step and row."""
        indices = list(rows) if self.order is None else self.order.indices(step, rows)
        pairs: list[tuple[Tensor, Tensor]] = []
        with restored_states():
            for row, index in zip(rows, indices, strict=True):
                seed_cpu(seed, step, row)
                example = self.examples[index]
                pairs.append((example, self.noise(example)))
        batch = tuple(default_collate(pairs))
        return batch if self.contexts is None else (*batch, self.contexts[indices])

    def data(self, flow: Density, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Examples in the flow's own space."""
        examples, noise, *context = batch
        return self.to_data(flow, examples, noise), context[0] if context else None

    def start(self, flow: Density, n: int) -> tuple[Tensor, Tensor | None]:
        """`n` examples at random places, since the first ones may be of one class."""
        draw = np.random.default_rng(0).choice
        chosen = draw(self.size, min(n, self.size), replace=False)
        values = torch.stack([self.examples[index] for index in chosen.tolist()])
        noise = torch.stack([self.noise(value) for value in values]).to(flow.device)
        context = None if self.contexts is None else self.contexts[chosen].to(flow.device)
        return self.to_data(flow, values.to(flow.device), noise), context

    def loss(self, flow: Density, batch: Batch) -> Tensor:
        """The loss of each example, (B,)."""
        if self.user_loss is None:
            return self.likelihood(flow, batch)
        x, context = self.data(flow, batch)
        value = self.user_loss(flow, x if context is None else (x, context))
        if not isinstance(value, Tensor) or tuple(value.shape) not in ((), (len(x),)):
            got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"a loss that is a scalar or one number for each of {len(x)} examples", got)
        return value.expand(len(x))

    @abstractmethod
    def likelihood(self, flow: Density, batch: Batch) -> Tensor:
        """The negative log-likelihood of each example per variable, (B,)."""

    def noise(self, example: Tensor) -> Tensor:
        """Draw the noise of one example, (C, *shape); empty unless a subclass overrides this method."""
        return torch.empty(0)

    @abstractmethod
    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """Map examples and their noise to the flow's own space and dtype, (B, C, *shape)."""


class ImageLikelihood(Likelihood):
    """The likelihood of uint8 images, which are dequantised; it includes the log-det of the preprocessing."""

    name, unit, metric = "images", "bits/dim", "bits"

    def noise(self, example: Tensor) -> Tensor:
        """Uniform noise for each variable."""
        return torch.rand(example.shape)

    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """Dequantised and preprocessed images."""
        return flow.preprocess(with_noise(examples, noise))[0].to(flow.dtype)

    def likelihood(self, flow: Density, batch: Batch) -> Tensor:
        """Bits per dimension of each image, (B,)."""
        examples, noise, *context = batch
        return flow.bits_per_dim(examples, *context, noise=noise)

    def pictures(self, flow: Density, samples: Tensor) -> Tensor:
        """Samples as images."""
        return flow.to_images(samples)


class FieldLikelihood(Likelihood):
    """The likelihood of real fields, which need no preprocessing."""

    name, unit, metric = "fields", "nats/variable", "nats"

    def to_data(self, flow: Density, examples: Tensor, noise: Tensor) -> Tensor:
        """The fields in the flow's dtype."""
        return examples.to(flow.dtype)

    def likelihood(self, flow: Density, batch: Batch) -> Tensor:
        """The negative log-likelihood of each field, (B,), in nats for each variable."""
        return -flow.log_prob(*self.data(flow, batch)) / flow.plan.input.variables


def likelihood_of(example: object) -> type[Likelihood]:
    """The likelihood of images for a uint8 example, of fields for a floating-point example; refuses other dtypes."""
    if isinstance(example, Tensor) and example.dtype == torch.uint8:
        return ImageLikelihood
    if isinstance(example, Tensor) and example.is_floating_point():
        return FieldLikelihood
    got = str(example.dtype) if isinstance(example, Tensor) else type(example).__name__
    raise InputError("examples that are uint8 images or fields of floats", got)


def likelihood(
    flow: Density, examples: Examples, order: Order | None = None, user_loss: UserLoss | None = None
) -> Likelihood:
    """The likelihood of a data set, with contexts for a conditional flow; see `Likelihood` for the other arguments."""
    return likelihood_of(examples[0])(examples, example_contexts(flow, examples), order, user_loss)


def example_contexts(flow: Density, examples: Examples) -> Tensor | None:
    """The context of each example for a conditional flow, (N, ...); None for a flow without context.

    The contexts are the labels "class" of the data set for a flow with classes, or else the labels "context".
    """
    if flow.plan.context is None or not flow.flow.needs_context:
        return None
    classes = flow.context_encoder.classes
    contexts = labels(examples, "context") if classes is None else class_numbers(examples)
    if classes is not None and len(contexts) and not 0 <= contexts.min() <= contexts.max() < classes:
        got = f"{contexts.min().item()} to {contexts.max().item()}"
        raise InputError(f"class numbers from 0 to {classes - 1}", got)
    if len(contexts) != (n := len(examples)):
        raise InputError(f"a label for each of {n} examples", str(len(contexts)))
    if classes is None and (tuple(contexts.shape[1:]) != flow.plan.context or not contexts.isfinite().all()):
        got = str(tuple(contexts.shape)) if contexts.isfinite().all() else "infinite values or NaN"
        raise InputError(f"finite contexts ({n}, {', '.join(map(str, flow.plan.context))})", got)
    return contexts
