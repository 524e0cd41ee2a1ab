"""The base class of flows and of mixtures of flows: log-density, samples, images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.checks import check_flag, check_tensor, check_window
from mera._utils.errors import InputError
from mera.bijectors import Bijector, with_noise
from mera.bijectors.prior import Prior
from mera.executor.contexts import Context, ContextEncoder
from mera.flow.distribution import FlowDistribution
from mera.graph import Layout, Plan
from mera.graph.summary import Summary, count_parameters

Temperature = float | Sequence[float]


@dataclass(frozen=True)
class Recipe:
    """The model and all options, including defaults, from which `build` (`mera.build`) makes a flow again."""

    model: str
    options: dict[str, Any]
    build: Callable[..., Any] = field(repr=False, compare=False)

    def rebuild(self, **changes: Any) -> Any:
        """A new flow of the same model, where some options change."""
        return self.build(self.model, **{**self.options, **changes})


class Density(nn.Module, ABC):
    """A density on a lattice, with samples: a `mera.Flow`, or a `mera.Symmetrized` flow.

    `mera.train.fit` trains both kinds, and `mera.save` saves them. A sample is a function of noise,
    `generate(draw_noise(n))`, so that processes can share samples, and gradients flow through them.

    A context is a tensor (B, *plan.context), or (1, *plan.context) for all samples. If the flow is conditional on a
    class, a context is class numbers instead: a list of B integers or a tensor (B,) of them, or one integer for all
    samples. A flow without context takes None.

    Methods refuse arguments as those of `mera.Flow` do. Layout, plan, prior and the other attributes are those of the
    flow.

    Attributes:
        flow: the `mera.Flow` that has the parameters; the flow itself for a `mera.Flow`.
    """

    flow: Any
    layout: Layout
    plan: Plan
    prior: Prior
    recipe: Recipe | None
    context_encoder: ContextEncoder
    preprocess: Bijector

    # Probability

    @abstractmethod
    def log_prob(self, x: Tensor, context: Context | None = None) -> Tensor:
        r"""The log-density of data, :math:`\log p(x)` or :math:`\log p(x | \text{context})`, (B,), in nats.

        Args:
            x: data (B, C, *shape) in the flow's own space.
            context: the contexts of the data; None for a flow without context.
        """

    @abstractmethod
    def draw_noise(
        self, n: int | Sequence[int], temperature: Temperature = 1.0, device: torch.device | str | None = None
    ) -> tuple[Tensor, ...]:
        """Draw the noise from which `generate` makes samples: tensors (n, ...), which include the latents of levels.

        Args:
            n: the number of samples, or a shape (n,).
            temperature: T of :math:`p(z)^{1/T}`, one number for all levels or one for each level, finest first.
            device: the device of the noise; None for the device of the flow.
        """

    @abstractmethod
    def generate(self, noise: Sequence[Tensor], context: Context | None = None) -> Tensor:
        """Make samples (n, C, *shape) from noise, differentiable in the flow's parameters and the context.

        Args:
            noise: a result of `draw_noise`.
            context: the contexts of the samples; None for a flow without context.
        """

    @abstractmethod
    def generate_with_log_prob(self, noise: Sequence[Tensor], context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Make samples as `generate` does, with the log-density of each, (n,), without a pass of `log_prob`."""

    def orbit(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor | None]:
        """Apply every element of the symmetry group to data: (n_elements * B, C, *shape), by element, with contexts.

        The group of a `mera.Flow` has one element.
        """
        return x, self.context_encoder.as_tensor(context)

    def given(self, context: Context) -> Density:
        """The density for one context, as a density without context, with the same parameters.

        Args:
            context: the context of all samples, (1, *plan.context), or a class number. Methods of the result, and
                `mera.train.fit`, take no context or labels.
        """
        return self.with_flow(self.flow.given(context))

    def resized(self, shape: int | Sequence[int], levels: int | None = None) -> Density:
        """The density on a lattice of another shape, with the same parameters; see `Flow.resized`."""
        return self.with_flow(self.flow.resized(shape, levels))

    def with_flow(self, flow: Any) -> Density:
        """A density of this kind with another flow: a mixture over the same group, or the other flow itself."""
        return flow

    @abstractmethod
    def initialize(self, x: Tensor, context: Context | None = None) -> None:
        """Initialise layers that depend on data, such as ActNorm, from a first batch of data.

        Layers that are already initialised, or have a frozen parameter, stay as they are. A layer that levels share is
        set at its finest level. A batch that is refused, as it is empty, not finite or too small, changes nothing.

        Args:
            x: data (B, C, *shape) in the flow's own space.
            context: the contexts of the data; None for a flow without context.

        Raises:
            ValueError: if the data is empty or not finite, or if a layer cannot be initialised from so few samples. The
                flow is then unchanged.
        """

    @torch.no_grad()
    def sample(
        self, n: int | Sequence[int], context: Context | None = None, *, temperature: Temperature = 1.0
    ) -> Tensor:
        """Draw samples (n, C, *shape) in the flow's own space, without gradients; for images see `to_images`.

        Args:
            n: the number of samples, or a shape (n,).
            context: the contexts of the samples; None for a flow without context.
            temperature: T of :math:`p(z)^{1/T}`, one number for all levels, or a number for each level, finest first
                (RG-Flow, Eq. 12 and 14, https://arxiv.org/abs/2010.00029).
        """
        return self.generate(self.draw_noise(n, temperature), context)

    def rsample_and_log_prob(self, n: int | Sequence[int], context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Draw samples as `sample` does, with the log-density of each, (n,), in nats; both are differentiable."""
        return self.generate_with_log_prob(self.draw_noise(n), context)

    def distribution(self, context: Context | None = None) -> FlowDistribution:
        """The flow as a `torch.distributions.Distribution` of events (C, *shape); see `FlowDistribution`.

        Args:
            context: the contexts, for a distribution with batch shape (B,); None for a flow without context.
        """
        return FlowDistribution(self, context)

    # Images

    def bits_per_dim(self, images: Tensor, context: Context | None = None, *, noise: Tensor | None = None) -> Tensor:
        r"""The negative log-likelihood of uint8 images in bits per dimension, :math:`-\log_2 p(\text{image}) / n`.

        One number for each image, (B,); n is the number of its variables, and the preprocessing is included. The
        values depend on the noise of dequantisation, and their expectation is an upper bound.

        Args:
            images: uint8 images (B, C, *shape).
            context: the contexts of the images; None for a flow without context.
            noise: dequantisation noise, floats in [0, 1) of the images' shape; None to draw noise.
        """
        self._check_images(images)
        x, log_det = self.preprocess(images if noise is None else with_noise(images, noise))
        nats = self.log_prob(x.to(self.dtype), context) + log_det
        return -nats / (self.plan.input.variables * math.log(2))

    @torch.no_grad()
    def to_images(self, x: Tensor) -> Tensor:
        """Map data in the flow's own space to uint8 images.

        Args:
            x: data (B, C, *shape), or a window of data, (B, C, *window), without NaN.

        Raises:
            ValueError: if the data has another number of channels or dimensions, is not floating-point, or has NaN.
        """
        check_window(x, self.plan.input.channels, self.plan.input.dim)
        return self.preprocess.inverse(x)[0]

    @torch.no_grad()
    def from_images(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, C, *shape) to data in the flow's own space and dtype; dequantisation draws noise."""
        self._check_images(images)
        return self.preprocess(images)[0].to(self.dtype)

    def _check_images(self, images: Tensor) -> None:
        """Refuse images that are not uint8, or not of the flow's shape and device."""
        check_tensor("images", images, self.plan.input.event_shape, None)
        if images.dtype != torch.uint8:
            raise InputError("images of dtype uint8", str(images.dtype))
        if images.device != self.device:
            raise InputError(f"images on {self.device}, where the flow is", str(images.device))
        if self.flow.of_angles:
            raise InputError("a flow of real numbers for images", "a flow of angles")

    # Description

    @property
    def n_parameters(self) -> int:
        """The number of learnable parameters, each a single number."""
        return count_parameters(self)

    @property
    def checkpoint(self) -> bool:
        """Return whether a forward pass keeps only the inputs of layers, which the backward pass then runs again.

        Values and gradients are the same; weights that change before the backward pass are refused. Memory is a
        fraction of that of all activations, and a training step takes about twice the time
        (https://arxiv.org/abs/1604.06174). A file of `mera.save` does not hold it, as it belongs to the machine.
        """
        return self.flow.keeps_inputs

    @checkpoint.setter
    def checkpoint(self, value: bool) -> None:
        """Set whether a forward pass keeps only the inputs of layers."""
        self.flow.keeps_inputs = check_flag(value, "checkpoint")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of data and latents, which `to` changes."""
        return self.flow.reference.dtype

    @property
    def device(self) -> torch.device:
        """The device of the flow, which `to` changes."""
        return self.flow.reference.device

    @property
    @abstractmethod
    def summary(self) -> Summary:
        """Tables of the nodes and the levels, and the number of parameters."""

    def __repr__(self) -> str:
        """The summary as text."""
        return repr(self.summary)

    def _repr_html_(self) -> str:
        """The summary as HTML for notebooks."""
        return self.summary._repr_html_()
