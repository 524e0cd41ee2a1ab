"""A flow: a compiled layout with its bijectors, a prior of its latents, and a way from images to data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import networkx as nx
import torch
from torch import Tensor, nn

from mera._utils.checks import check_count, check_images, check_levels, check_noise, check_tensor, check_window
from mera._utils.errors import InputError
from mera.bijectors import Bijector, ImagePreprocess, with_noise
from mera.cones import Cone, Region, Restriction, Site, Span, generation_cone, inference_cone, window
from mera.distribution import FlowDistribution
from mera.graph import Layout, Step, compile, run_forward, run_inverse
from mera.graph.contexts import ContextEncoder
from mera.graph.memory import memory_per_node
from mera.graph.modules import make_bijectors
from mera.graph.runner import Runner
from mera.graph.summary import count_parameters, summarize
from mera.inpaint import Inpainting, inpaint
from mera.priors import Prior, PriorLike, temperature_per_level

__all__ = ["Flow", "Latents", "Recipe"]

Latents = tuple[Tensor, ...]
"""One tensor per level, finest first: z[h] is (B, channels_h, *sites_h)."""


@dataclass(frozen=True)
class Recipe:
    """How `mera.build` built a flow, so that the flow can be built again.

    Args:
        model: a name that `mera.build` accepts.
        options: all options of the model, also the ones that were left at their defaults.
    """

    model: str
    options: dict[str, Any]


class Flow(nn.Module):
    r"""A hierarchical normalizing flow,
    :math:`\log p(x) = \log p(z) + \log |\det \partial z / \partial x|`
    (`RG-Flow <https://arxiv.org/abs/2010.00029>`_, Eq. 1 and 7).

    Forward goes from data to latents, the direction of renormalisation; inverse generates.

    Args:
        layout: what the flow is made of.
        prior: the density of the latents; see `mera.priors.Prior`.
        preprocess: a bijector from uint8 images to the flow's own space; None for `mera.bijectors.ImagePreprocess`.
        classes: how many classes there are, if the flow is conditional on a class: a context is then learnt for each
            class, and callers pass class numbers (B,) in place of a context.

    Where a method takes a context, its shape is (B, *plan.context), or (1, *plan.context) for all samples; class
    numbers are integers of shape (B,) or (1,).

    Attributes:
        recipe: how `mera.build` made the flow; None for a flow made by hand.
        layout: a copy of the layout.
        plan: what the layout was compiled to.
        bijectors: the modules, by the key that the plan's steps name.
        prior: the density of the latents.
        context_encoder: the module that turns a context, or a class number, into the numbers that bijectors read.
        preprocess: from uint8 images to the flow's own space.

    Raises:
        LayoutError: if the layout is not a bijection.
        ValueError: if the prior is no univariate density, the preprocessing no bijector, or the number of classes not
            positive.
    """

    _reference: Tensor

    def __init__(
        self,
        layout: Layout,
        prior: PriorLike | Prior = "laplace",
        preprocess: Bijector | None = None,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.recipe: Recipe | None = None
        self._memory: dict[str, str] = {}
        self.plan = compile(layout)
        self.layout = Layout.from_graph(layout.graph)  # a copy: what its owner adds later is not in the plan
        nx.freeze(self.layout.graph)
        self.bijectors = make_bijectors(self.plan, self.layout)
        self.context_encoder = ContextEncoder(self.plan, classes)
        self.prior = prior if isinstance(prior, Prior) else Prior(prior)
        if preprocess is not None and not isinstance(preprocess, Bijector):
            raise InputError("a bijector to preprocess images", type(preprocess).__name__)
        like = next(self.bijectors.parameters(), torch.empty(0)).detach()
        self.preprocess = ImagePreprocess().to(like.device, like.dtype) if preprocess is None else preprocess
        self.register_buffer("_reference", like.new_empty(0), persistent=False)  # the flow's dtype and device

    # Data and latents

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Latents, Tensor]:
        r"""Data (B, C, *shape) to latents, one tensor per level, and :math:`\log |\det \partial z / \partial x|` (B,).

        Raises:
            ValueError: if shape, dtype or device is not the flow's, or a context is missing or not of its shape.
        """
        self._check_data("data", x)
        return self.runner.forward(x, context)

    def inverse(self, z: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Latents, one tensor per level, to data (B, C, *shape) and :math:`\log |\det \partial x / \partial z|` (B,).

        Raises:
            ValueError: if the number of levels, a shape, dtype or device is not the flow's, or a context is missing or
                not of its shape.
        """
        self._check_latents(z)
        return self.runner.inverse(z, context)

    def to_lattice(self, z: Sequence[Tensor]) -> Tensor:
        """Lay each latent at its own site of the pixel lattice, (B, C, *shape), as the paper does."""
        self._check_latents(z)
        return run_inverse(self.plan, z, _identity)[0]

    def from_lattice(self, t: Tensor) -> Latents:
        """The latents from where `to_lattice` laid them."""
        self._check_data("latents on the lattice", t)
        return run_forward(self.plan, t, _identity)[0]

    def progression(self, z: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, ...]:
        """The lattice at each level on the way from latents to data: x^(h) of Eq. (2) to (4), finest first.

        The first tensor is the data; the others are the coarser lattices from which it was generated (paper, Fig. 3a).
        Arguments are those of `inverse`.
        """
        self._check_latents(z)
        values = {latent.value: level for latent, level in zip(self.plan.latents, z, strict=True)}
        runner = self.runner
        transform = runner.inverse_transform(runner.contexts(context, z[0]))
        run_inverse(self.plan, z, transform, watch=values.__setitem__)
        return tuple(values[value] for value in self.plan.entries)

    # Probability

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x), or log p(x | context), of data (B, C, *shape): (B,), in nats, in the flow's own space."""
        z, log_det = self(x) if context is None else self(x, context)
        return self.prior.log_prob(z) + log_det

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None, *, temperature: float | Sequence[float] = 1.0) -> Tensor:
        """Draw data (n, C, *shape) in the flow's own space; `flow.to_images` makes pictures of it.

        Args:
            n: how many samples.
            context: for a conditional flow.
            temperature: T of p(z)^(1/T), one number for all levels or one for each, finest first (Eq. 12 and 14).

        Raises:
            ValueError: if an argument makes no sense, or the prior has no sampler at this temperature.
        """
        return self.inverse(self.sample_latents(n, temperature), context)[0]

    @torch.no_grad()
    def sample_latents(self, n: int, temperature: float | Sequence[float] = 1.0) -> Latents:
        """Draw latents from the prior; arguments are those of `sample`."""
        check_count(n, "a number of samples", 0)
        shapes = [(n, *latent.lattice.event_shape) for latent in self.plan.latents]
        return self.prior.sample(shapes, temperature_per_level(temperature, len(shapes)), self._reference)

    def rsample_and_log_prob(self, n: int, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples and their densities from one pass, differentiable in the flow's parameters and in the context.

        Args:
            n: how many samples.
            context: for a conditional flow.

        Returns:
            The samples (n, C, *shape), and log p of each (n,), in nats.
        """
        z = self.sample_latents(n)
        x, log_det = self.inverse(z, context)
        return x, self.prior.log_prob(z) - log_det

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        """The flow as a `torch.distributions.Distribution` of events (C, *shape); see `FlowDistribution`.

        Args:
            context: for a conditional flow; the batch shape is then that of the contexts, (B,).
        """
        return FlowDistribution(self, context)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let normalisation layers start from a first batch of data (B, C, *shape).

        Each layer starts once: where levels share a module, from the finest level.

        Raises:
            ValueError: if the data is empty, not finite or not of the flow's shape, or too small a batch for a layer
                to start from.
        """
        self._check_data("data", x)
        if len(x) == 0 or not x.isfinite().all():
            raise InputError("some finite data to start from", f"{len(x)} samples, or infinite or NaN ones")
        before = {name: tensor.clone() for name, tensor in self.bijectors.state_dict().items()}
        try:
            self.runner.initialize(x, context)
        except ValueError:
            self.bijectors.load_state_dict(before)  # a refused batch changes nothing
            raise

    # Images

    def bits_per_dim(self, images: Tensor, context: Tensor | None = None, *, noise: Tensor | None = None) -> Tensor:
        r""":math:`-\log_2 p(\text{image})` for each variable of uint8 images: (B,), in bits per dimension.

        The log-det of the preprocessing is counted. Dequantisation draws noise, so that a second call differs a
        little; the expectation is an upper bound.

        Args:
            images: uint8 (B, C, *shape).
            context: for a conditional flow.
            noise: numbers in [0, 1) of the images' shape, in place of drawn noise.

        Raises:
            ValueError: if the images are not uint8 or not of the flow's shape; if the noise is not of the images'
                shape, or (checked on the CPU, where a look at numbers costs little) not in [0, 1).
        """
        self._check_images(images)
        if noise is not None:
            check_noise(noise, images)
        x, log_det = self.preprocess(images if noise is None else with_noise(images, noise))
        nats = self.log_prob(x.to(self.dtype), context) + log_det
        return -nats / (self.plan.input.variables * math.log(2))

    @torch.no_grad()
    def to_images(self, x: Tensor) -> Tensor:
        """Data in the flow's own space, (B, C, *shape) or a window of it, (B, C, *window), to uint8 images.

        Raises:
            ValueError: if the data has another number of channels or dimensions, holds no floats, or is NaN somewhere.
        """
        check_window(x, self.plan.input.channels, self.plan.input.dim)
        return self.preprocess.inverse(x)[0]

    @torch.no_grad()
    def from_images(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, *shape) to data in the flow's own space, dequantised with noise."""
        self._check_images(images)
        return self.preprocess(images)[0].to(self.dtype)

    # Parts of a flow

    def inference_cone(self, region: Region) -> Cone:
        """Which latents can change when pixels do (paper, Fig. 2d).

        Args:
            region: a bool mask (H, W) of the pixels; or for each dimension a slice, a pair (start, stop) or a single
                site, which serves lattices that are too large for a mask too.

        >>> import mera, numpy as np
        >>> cone = mera.build("rgflow", L=32, m=4).inference_cone(np.s_[8:16, 8:16])
        >>> cone.count, [level.sum().item() for level in cone.levels]
        (1092, [64, 36, 16, 16])

        Raises:
            ValueError: if the region is empty, no mask of this lattice, or reaches outside.
        """
        return inference_cone(self.plan, region)

    def generation_cone(self, level: int, site: Site) -> Cone:
        """Which pixels the latents at a site can change, and all values on the way (paper, Fig. 2c).

        Args:
            level: the level of the latents, 0 for the finest.
            site: its coordinates; or a bool mask (H_h, W_h) of several sites. The cone of latents in several levels is
                the union of their cones.

        >>> import mera
        >>> cone = mera.build("rgflow", L=32, m=4).generation_cone(level=1, site=(1, 3))
        >>> cone.pixels.shape, int(cone.pixels.sum())
        (torch.Size([32, 32]), 400)

        Raises:
            ValueError: if there is no such level or site.
        """
        return generation_cone(self.plan, level, site)

    def restrict(self, x: Tensor, mask: Region, context: Tensor | None = None) -> Restriction:
        """Evaluate the flow around one image where masked pixels change, and nowhere else.

        This call makes one pass through the whole flow. From then on `log_prob`, `encode` and `decode` of the returned
        object evaluate only the patches in the inference cone of the mask, O(log L) of them for a small mask; their
        values equal those of the whole flow.

        Args:
            x: one image, (1, C, *shape), in the flow's own space.
            mask: a bool mask (H, W) of the pixels that change, or a region as for `inference_cone`.
            context: for a conditional flow: the context of this image, which does not change.

        Raises:
            ValueError: if the mask is empty, of another shape, or masks every pixel; if x is not one image of the
                flow's shape, dtype and device, or has NaN or infinite pixels, under the mask or not.
        """
        return Restriction(self.runner, x, mask, context)

    def inpaint(self, x: Tensor, mask: Region, context: Tensor | None = None, **options: Any) -> Inpainting:
        """Fill masked pixels of one image (paper, Section 4 and App. D); `torch.manual_seed` makes it repeatable.

        Args:
            x: one image, (1, C, *shape), in the flow's own space; under the mask any finite numbers will do.
            mask: a bool mask (H, W) of the pixels to fill, or a region as for `inference_cone`.
            context: for a conditional flow: the context of this image.
            options: `console`, a `rich.console.Console` to show progress on; and the fields of
                `mera.inpaint.SearchOptions`, which explains them: space, latents, draws, starts, steps, lr, samples,
                warmup, iterations, leapfrog.

        Raises:
            ValueError: as for `restrict`; or if an option is unknown or has a value that makes no sense.
        """
        return inpaint(self.runner, x, mask, context, **options)

    def window(self, seed: int, *region: Span, temperature: float | Sequence[float] = 1.0) -> Tensor:
        """A window of the image that a seed stands for: data (1, C, *window) in the flow's own space.

        The noise of each latent is a function of seed, level and site, and only latents in the window's cone are drawn.
        So the lattice may have an edge of 2^30; overlapping windows agree to the last bit (on one device, with one
        number of threads); and windows follow the same distribution as `sample`.

        Args:
            seed: from 0 to 2^64 - 1.
            region: for each dimension of the lattice a slice, a range, a pair (start, stop) or a single site.
            temperature: as for `sample`.

        >>> import mera
        >>> flow = mera.build("rgflow", L=2**30, hidden=(8,), share_levels=True)
        >>> flow.window(7, (2**29, 2**29 + 64), (12_345, 12_345 + 48)).shape
        torch.Size([1, 3, 64, 48])

        Raises:
            ValueError: if a span is empty or reaches outside; if the seed is no such integer; if the lattice is too
                large for a field bijector; if the prior has no quantile function; if the flow is conditional.
        """
        return window(self.runner, seed, region, temperature)

    # Description

    @property
    def runner(self) -> Runner:
        """The plan with the flow's bijectors, prior, contexts and memory, as they are now."""
        modules = dict(self.bijectors.items())
        return Runner(self.plan, modules, self.prior, self.context_encoder, self._memory, self._reference)

    @property
    def memory(self) -> Mapping[str, str]:
        """For each node, what a forward pass keeps for the backward pass; values and gradients are the same.

        "store": all activations. "checkpoint": what entered each layer, which runs again. "invert": what left the
        node, which is inverted layer by layer, so that memory does not grow with depth; no second derivatives.
        Assign one word for all nodes, or a dict for some of them.

        Raises:
            ValueError: if a word or a node is unknown.
        """
        nodes = [step.node for step in self.plan.steps if step.module]
        return MappingProxyType({node: self._memory.get(node, "store") for node in nodes})

    @memory.setter
    def memory(self, value: str | Mapping[str, str]) -> None:
        self._memory = memory_per_node(value, [step.node for step in self.plan.steps if step.module])

    @property
    def n_parameters(self) -> int:
        """How many numbers are learnt."""
        return count_parameters(self)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of data and latents, which `to` changes."""
        return self._reference.dtype

    @property
    def device(self) -> torch.device:
        """The device of the flow, which `to` changes."""
        return self._reference.device

    def __repr__(self) -> str:
        """Levels, nodes and parameters, as tables."""
        return summarize(self.plan, dict(self.bijectors.items()), self.prior.extra_repr())

    def _check_data(self, what: str, x: Tensor) -> None:
        check_tensor(what, x, self.plan.input.event_shape, self._reference)

    def _check_latents(self, z: Sequence[Tensor]) -> None:
        check_levels("latents", z, [latent.lattice.event_shape for latent in self.plan.latents], self._reference)

    def _check_images(self, images: Tensor) -> None:
        check_images(images, self.plan.input.event_shape, self.device)


def _identity(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
    """A transform that changes nothing, for passes that only move variables."""
    return events, events.new_zeros(events.shape[0])
