"""A flow: a compiled layout with its bijectors, a prior of its latents, and a way from images to data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import networkx as nx
import torch
from torch import Tensor, nn

from mera._utils.allocator import let_thresholds_rise
from mera._utils.checks import check_choice, check_count, check_levels, check_tensor
from mera.bijectors import Bijector
from mera.bijectors.base import context_arguments
from mera.cone_methods import ConeMethods
from mera.distribution import FlowDistribution
from mera.graph import Layout, Step, compile, run_forward, run_inverse
from mera.graph.contexts import Conditions
from mera.graph.memory import MEMORY
from mera.graph.modules import make_bijectors
from mera.graph.summary import summarize
from mera.image_methods import ImageMethods, default_preprocess
from mera.priors import Prior, PriorLike

__all__ = ["Flow", "Latents", "Recipe"]

Latents = tuple[Tensor, ...]
"""One tensor per level, finest first: z[h] is (B, channels_h, *sites_h)."""


@dataclass(frozen=True)
class Recipe:
    """How a flow was built, so that it can be built again.

    Args:
        model: a name that `mera.build` accepts.
        options: all of its options, those left at their defaults too.
    """

    model: str
    options: dict[str, Any]


class Flow(nn.Module, ImageMethods, ConeMethods):
    r"""A hierarchical normalizing flow: log p(x) = log p(z) + log \|det dz/dx\| (paper, Eq. 1 and 7).

    Forward goes from data to latents, the direction of renormalisation; inverse generates.

    Args:
        layout: what the flow is made of.
        prior: see `mera.priors.Prior`.
        preprocess: from uint8 images to the flow's own space; dequantisation and logit unless said otherwise.
        classes: how many classes there are, if the context is to be learnt for each: callers then pass class numbers
            (B,) in place of a context.

    Where a method takes a context, it is (B, *plan.context), or (1, *plan.context) for all samples; class numbers are
    (B,) or (1,) integers.

    Attributes:
        recipe: how `mera.build` made the flow; None for a flow made by hand.
        layout: the layout.
        plan: what it was compiled to.
        bijectors: the modules, by the key that the plan's steps name.

    Raises:
        LayoutError: if the layout is not a bijection.
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
        let_thresholds_rise()
        self.recipe: Recipe | None = None
        self._memory: dict[str, str] = {}
        self.plan = compile(layout)
        self.layout = Layout.from_graph(layout.graph)  # a copy: what its owner adds later is not in the plan
        nx.freeze(self.layout.graph)
        self.bijectors = make_bijectors(self.plan, self.layout)
        self.conditions = Conditions(self.plan, classes)
        self.prior = prior if isinstance(prior, Prior) else Prior(prior)
        if preprocess is not None and not isinstance(preprocess, Bijector):
            raise ValueError(f"Expected a bijector to preprocess images; got {type(preprocess).__name__}")
        self.preprocess = preprocess if preprocess is not None else default_preprocess()
        like = next(self.bijectors.parameters(), torch.empty(0)).detach()
        self.preprocess.to(like.device, like.dtype)
        self.register_buffer("_reference", like.new_empty(0), persistent=False)  # the flow's dtype and device

    @property
    def memory(self) -> Mapping[str, str]:
        """By node, what a forward pass keeps for the backward pass; values and gradients are the same.

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
        nodes = [step.node for step in self.plan.steps if step.module]
        words = dict(value) if isinstance(value, Mapping) else dict.fromkeys(nodes, value)
        for node, word in words.items():
            check_choice(node, nodes, "a node with a bijector")
            check_choice(word, MEMORY, f"memory of node {node!r}")
        self._memory = words

    # Data and latents

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Latents, Tensor]:
        r"""Data (B, C, *shape) to latents and log \|det dz/dx\| (B,).

        Raises:
            ValueError: if shape or dtype is not the flow's, or a context is missing or not of its shape.
        """
        self._check("data", x)
        given = self.conditions(context, x, self._takes_context)

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            run = MEMORY[self._memory.get(step.node, "store")]
            return run(self._bijector(step), events, given(step))

        return run_forward(self.plan, x, transform)

    def inverse(self, z: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Latents to data and log \|det dx/dz\| (B,).

        Raises:
            ValueError: if the number of levels, a shape or a dtype is not the flow's, or a context is missing or not of
                its shape.
        """
        self._check_latents(z)
        return run_inverse(self.plan, z, self._inverse_transform(context, z[0]))

    def to_lattice(self, z: Sequence[Tensor]) -> Tensor:
        """Lay each latent at its own site of the pixel lattice, (B, C, *shape), as the paper does."""
        self._check_latents(z)
        return run_inverse(self.plan, z, _identity)[0]

    def from_lattice(self, t: Tensor) -> Latents:
        """The latents from where `to_lattice` laid them."""
        self._check("latents on the lattice", t)
        return run_forward(self.plan, t, _identity)[0]

    def progression(self, z: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, ...]:
        """The lattice at each level on the way from latents to data: x^(h) of Eq. (2) to (4), finest first.

        The first is the data itself; the others are what the levels below have not seen yet (paper, Fig. 3a).
        """
        self._check_latents(z)
        values = {latent.value: level for latent, level in zip(self.plan.latents, z, strict=True)}
        run_inverse(self.plan, z, self._inverse_transform(context, z[0]), watch=values.__setitem__)
        return tuple(values[value] for value in self.plan.entries)

    # Probability

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x) or log p(x | context) of data (B, C, *shape): (B,), in nats, in the flow's own space."""
        z, log_det = self(x) if context is None else self(x, context)
        return self.prior.log_prob(z) + log_det

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        """The flow as a `torch.distributions.Distribution` of events (C, *shape); see `FlowDistribution`.

        Args:
            context: batches of distributions, one for each context.
        """
        return FlowDistribution(self, context)

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None, *, temperature: float | Sequence[float] = 1.0) -> Tensor:
        """Draw data (n, C, *shape) in the flow's own space; `flow.to_images` makes pictures of it.

        Args:
            n: how many.
            context: of a conditional flow.
            temperature: T of p(z)^(1/T), one for all levels or one for each, finest first (paper, Eq. 12 and 14).
        """
        return self.inverse(self.sample_latents(n, temperature), context)[0]

    @torch.no_grad()
    def sample_latents(self, n: int, temperature: float | Sequence[float] = 1.0) -> Latents:
        """Draw latents from the prior at a temperature; arguments as for `sample`."""
        check_count(n, "a number of samples", 0)
        shapes = [(n, *latent.lattice.event_shape) for latent in self.plan.latents]
        return self.prior.sample(shapes, self._temperatures(temperature), self._reference)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let normalisation layers start from a first batch of data (B, C, *shape).

        Each starts once: where levels share a module, from the finest.
        """
        self._check("data", x)
        if len(x) == 0 or not x.isfinite().all():
            raise ValueError(f"Expected some finite data to start from; got {len(x)} samples, or infinite or NaN ones")

        given = self.conditions(context, x, self._takes_context)

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            bijector = self._bijector(step)
            value = bijector.initialize(events, *context_arguments(bijector, given(step)))
            return value, events.new_zeros(events.shape[0])

        run_forward(self.plan, x, transform)

    # Description and checks

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of data and latents, which `to` changes."""
        return self._reference.dtype

    @property
    def device(self) -> torch.device:
        """Where the flow is, which `to` changes."""
        return self._reference.device

    def __repr__(self) -> str:
        """Levels, nodes and parameters, as tables."""
        return summarize(self.plan, dict(self.bijectors.items()), self.prior.extra_repr())

    def _bijector(self, step: Step) -> Bijector:
        return cast(Bijector, self.bijectors[step.module])

    def _takes_context(self, step: Step) -> bool:
        return self._bijector(step).context_shape is not None

    def _inverse_transform(
        self, context: Tensor | None, like: Tensor
    ) -> Callable[[Step, Tensor], tuple[Tensor, Tensor]]:
        given = self.conditions(context, like, self._takes_context)

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            bijector = self._bijector(step)
            return bijector.inverse(events, *context_arguments(bijector, given(step)))

        return transform

    def _temperatures(self, temperature: float | Sequence[float]) -> list[float]:
        levels = len(self.plan.latents)
        temperatures = list(temperature) if isinstance(temperature, Sequence) else [temperature] * levels
        if len(temperatures) != levels:
            raise ValueError(f"Expected one temperature, or one for each of {levels} levels; got {temperature}")
        return temperatures

    def _check(self, what: str, x: Tensor) -> None:
        check_tensor(what, x, self.plan.input.event_shape, self._reference)

    def _check_latents(self, z: Sequence[Tensor]) -> None:
        check_levels("latents", z, [latent.lattice.event_shape for latent in self.plan.latents], self._reference)


def _identity(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
    """The transform that changes nothing: what is left of a flow is where each variable goes."""
    return events, events.new_zeros(events.shape[0])
