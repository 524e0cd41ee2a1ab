"""What flows and mixtures of flows have in common: a density with samples, and images in its space."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mera._utils.checks import check_images, check_noise, check_window
from mera.bijectors import Bijector, with_noise
from mera.distribution import FlowDistribution
from mera.graph import Layout, Plan
from mera.graph.summary import Summary, count_parameters
from mera.run.contexts import ContextEncoder

__all__ = ["Density"]


class Density(nn.Module, ABC):
    """A density on a lattice, with samples: a `mera.Flow`, or a `mera.Symmetrized` flow.

    `mera.train.fit` trains any of them, and `mera.save` saves it.

    Attributes:
        layout: the layout of the flow.
        plan: the compiled layout.
        context_encoder: the module that checks contexts, and replaces class numbers by learnt vectors.
        preprocess: the bijector from uint8 images to the flow's own space.
    """

    layout: Layout
    plan: Plan
    context_encoder: ContextEncoder
    preprocess: Bijector

    @abstractmethod
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-density of data, (B,), in nats.

        Args:
            x: data (B, C, *shape) in the flow's own space.
            context: the contexts of the data; None for a flow without context.
        """

    @abstractmethod
    def sample(
        self, n: int | Sequence[int], context: Tensor | None = None, *, temperature: float | Sequence[float] = 1.0
    ) -> Tensor:
        """Draw data (n, C, *shape) in the flow's own space, without gradients.

        Args:
            n: the number of samples.
            context: the contexts of the samples; None for a flow without context.
            temperature: the temperature of the prior, one number for all levels, or a number for each level.
        """

    @abstractmethod
    def rsample_and_log_prob(self, n: int | Sequence[int], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw samples (n, C, *shape) and compute their log-densities (n,), both differentiable.

        Args:
            n: the number of samples.
            context: the contexts of the samples; None for a flow without context.
        """

    @abstractmethod
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set the layers that start from data, such as ActNorm, from a first batch of data.

        Args:
            x: data (B, C, *shape) in the flow's own space.
            context: the contexts of the data; None for a flow without context.
        """

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        """The flow as a `torch.distributions.Distribution` of events (C, *shape); see `FlowDistribution`.

        Args:
            context: for a conditional flow, floats (B, *plan.context) or class numbers (B,), which give the
                distribution the batch shape (B,); None for a flow without context.

        Raises:
            ValueError: if a context is missing or not of the flow's context shape.
        """
        return FlowDistribution(self, context)

    # Images

    def bits_per_dim(self, images: Tensor, context: Tensor | None = None, *, noise: Tensor | None = None) -> Tensor:
        r"""The negative log-likelihood of uint8 images in bits per dimension, :math:`-\log_2 p(\text{image}) / n`.

        Here :math:`n` is the number of variables of an image, and the log-det of the preprocessing is counted.
        Dequantisation draws noise, so that a second call gives slightly different values; the expectation is an upper
        bound.

        Args:
            images: uint8 images (B, C, *shape).
            context: for a conditional flow, floats (B, *plan.context) or class numbers (B,); None for a flow without
                context.
            noise: floats in [0, 1) of the images' shape, which dequantise the images; None to draw noise.

        Returns:
            The bits per dimension of each image, (B,).

        Raises:
            ValueError: if the images are not uint8, or not of the flow's shape and device; if the noise is not of the
                images' shape, or not in [0, 1), which is checked on the CPU only; or if a context is missing or not of
                the flow's context shape.
        """
        self._check_images(images)
        if noise is not None:
            check_noise(noise, images)
        x, log_det = self.preprocess(images if noise is None else with_noise(images, noise))
        nats = self.log_prob(x.to(self.dtype), context) + log_det
        return -nats / (self.plan.input.variables * math.log(2))

    @torch.no_grad()
    def to_images(self, x: Tensor) -> Tensor:
        """Map data in the flow's own space to uint8 images.

        Args:
            x: data (B, C, *shape), or a window of data, (B, C, *window).

        Returns:
            The images, uint8, of the shape of the data.

        Raises:
            ValueError: if the data has another number of channels or dimensions, holds no floats, or is NaN somewhere.
        """
        check_window(x, self.plan.input.channels, self.plan.input.dim)
        return self.preprocess.inverse(x)[0]

    @torch.no_grad()
    def from_images(self, images: Tensor) -> Tensor:
        """Map uint8 images to data in the flow's own space; dequantisation draws noise.

        Args:
            images: uint8 images (B, C, *shape).

        Returns:
            The data (B, C, *shape), of the flow's dtype.

        Raises:
            ValueError: if the images are not uint8, or not of the flow's shape and device.
        """
        self._check_images(images)
        return self.preprocess(images)[0].to(self.dtype)

    # Description

    @property
    def n_parameters(self) -> int:
        """The number of learnable parameters, counted as single numbers."""
        return count_parameters(self)

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The dtype of data and latents, which `to` changes."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of the flow, which `to` changes."""

    @property
    @abstractmethod
    def memory(self) -> Mapping[str, str]:
        """The memory settings by the names of nodes; see `Flow.memory`."""

    @memory.setter
    @abstractmethod
    def memory(self, value: str | Mapping[str, str]) -> None: ...

    @property
    @abstractmethod
    def summary(self) -> Summary:
        """Tables of the nodes and the levels, and the number of parameters."""

    def __repr__(self) -> str:
        """The summary as text."""
        return repr(self.summary)

    def _repr_html_(self) -> str:
        """The summary as HTML, which notebooks ask for."""
        return self.summary._repr_html_()

    def _check_images(self, images: Tensor) -> None:
        """Refuse images that are not uint8, or not of the flow's shape and device."""
        check_images(images, self.plan.input.event_shape, self.device)
