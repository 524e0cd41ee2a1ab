"""Mixtures of a flow and its images under a group of symmetries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors import Bijector
from mera.cones import Cone, Region, Site
from mera.density import Density
from mera.flow import Flow, Recipe
from mera.graph import Layout, Plan
from mera.graph.summary import Summary
from mera.run.contexts import ContextEncoder
from mera.symmetry.groups import symmetries

__all__ = ["Symmetrized", "underlying"]


class Symmetrized(Density):
    r"""A flow with a finite group G of symmetries built in, such as the global spin flip of NeuralRG.

    .. math:: p(x) = \frac{1}{|G|} \sum_{g \in G} q(g x)

    for the density :math:`q` of a flow (for the flip: https://arxiv.org/abs/1802.02840). This mixture of the flow and
    its images is exactly symmetric for all weights; its density takes a pass of the flow for each element. The mixture
    has densities and samples, which `mera.train.fit` needs for examples and for actions, but no latents. `mera.save`
    saves it.

    Of a large group the mixture can have some elements only: it is then a density all the same, and in general the
    closer to a symmetric one the more elements there are. To measure, a mixture of many images of a trained flow is
    worth its passes: where images err independently, their mean errs less.

    Args:
        flow: the flow with density :math:`q`, whose parameters are shared.
        group: the symmetries: "flip" of the global sign, "signs" of each channel, "reflections" of each dimension,
            "rotations" by quarter turns, "translations"; or several of them, whose products are the group.
        elements: how many elements of the group the mixture has: the identity, and others that are drawn once, the same
            ones for each flow; None for all elements of a group of at most 256.

    Raises:
        ValueError: if `flow` is no flow, its lattice does not have a symmetry, or the group has fewer elements.

    >>> import mera, torch
    >>> p = mera.Symmetrized(mera.build("neuralrg", L=4, hidden=(8,)))
    >>> x = p.rsample(3)
    >>> torch.allclose(p.log_prob(x), p.log_prob(-x))
    True
    """

    def __init__(self, flow: Flow, group: str | Sequence[str] = "flip", elements: int | None = None) -> None:
        super().__init__()
        if not isinstance(flow, Flow):
            raise InputError("a Flow", type(flow).__name__)
        self.flow, self.group = flow, group if isinstance(group, str) else tuple(group)
        self.elements = symmetries(group, flow.plan.input, elements)
        self.options: dict[str, Any] = {"group": self.group, "elements": elements}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Call `log_prob`, so that the module can be wrapped for training in several processes.

        Args:
            x: data (B, C, *shape).
            context: for a conditional flow, floats (B, *plan.context) or class numbers (B,); None for a flow without
                context.

        Returns:
            The log-densities (B,), in nats.

        Raises:
            ValueError: if shape, dtype or device of the data is not the flow's, or a context is missing or not of the
                flow's context shape.
        """
        return self.log_prob(x, context)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""The log-density of data, :math:`\log p(x)`.

        Args:
            x: data (B, C, *shape).
            context: for a conditional flow, floats (B, *plan.context) or class numbers (B,); None for a flow without
                context.

        Returns:
            The log-densities (B,), in nats.

        Raises:
            ValueError: if shape, dtype or device of the data is not the flow's, or a context is missing or not of the
                flow's context shape.
        """
        images, contexts = self.images(x, context)
        n = len(self.elements)
        return self.flow.log_prob(images, contexts).view(n, len(x)).logsumexp(0) - math.log(n)

    def rsample(self, n: int | Sequence[int], context: Tensor | None = None) -> Tensor:
        """Draw data, each under a random element of the group; differentiable in the flow's parameters and the context.

        Args:
            n: the number of samples, or a shape (n,).
            context: for a conditional flow, floats (n, *plan.context) or class numbers (n,), or one context for all
                samples; None for a flow without context.

        Returns:
            The samples (n, C, *shape).

        Raises:
            ValueError: if the number of samples is no integer >= 0, or a context is missing or not of the flow's
                context shape.
        """
        x = self.flow.rsample_and_log_prob(n, context)[0]
        return self.transform(x, self.choose(x))

    def rsample_and_log_prob(self, n: int | Sequence[int], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-densities, in one pass less than by `rsample` and `log_prob`.

        Args:
            n: the number of samples, or a shape (n,).
            context: for a conditional flow, floats (n, *plan.context) or class numbers (n,), or one context for all
                samples; None for a flow without context.

        Returns:
            The samples (n, C, *shape), as `rsample` draws them; and the log-density of each sample, (n,), in nats.

        Raises:
            ValueError: if the number of samples is no integer >= 0, or a context is missing or not of the flow's
                context shape.
        """
        x, log_q = self.flow.rsample_and_log_prob(n, context)
        choice = self.choose(x)
        x = self.transform(x, choice)
        return x, self.log_prob_given(x, log_q, choice, context)

    def sample(
        self, n: int | Sequence[int], context: Tensor | None = None, *, temperature: float | Sequence[float] = 1.0
    ) -> Tensor:
        """Draw data, without gradients; each sample under a random element of the group.

        Args:
            n: the number of samples, or a shape (n,).
            context: for a conditional flow, floats (n, *plan.context) or class numbers (n,), or one context for all
                samples; None for a flow without context.
            temperature: T of :math:`p(z)^{1/T}` for the prior of the flow, one number for all levels, or a number for
                each level, finest first.

        Returns:
            The samples (n, C, *shape).

        Raises:
            ValueError: if the number of samples is no integer >= 0, a temperature is not positive, a context is missing
                or not of the flow's context shape, or the prior has no sampler at this temperature.
        """
        x = self.flow.sample(n, context, temperature=temperature)
        return self.transform(x, self.choose(x))

    def choose(self, x: Tensor) -> Tensor:
        """Numbers of elements for data (B, C, *shape), drawn at random: integers (B,)."""
        return torch.randint(len(self.elements), (x.shape[0],), device=x.device)

    def choose_given(self, x: Tensor, uniform: Tensor, context: Tensor | None = None) -> Tensor:
        """Draw for each datum an element, with the posterior probability that the datum came from it.

        Args:
            x: data (B, C, *shape).
            uniform: numbers in [0, 1), (B,), which decide.
            context: for a conditional flow, the contexts of the data; None for a flow without context.

        Returns:
            The numbers of the elements, integers (B,).
        """
        images, contexts = self.images(x, context)
        densities = self.flow.log_prob(images, contexts).view(len(self.elements), len(x))
        return (densities.softmax(0).cumsum(0)[:-1] <= uniform).sum(0)

    def image(self, x: Tensor, choice: Tensor) -> Tensor:
        """Images of data under chosen elements, whose inverses `transform` applies.

        Args:
            x: data (B, C, *shape).
            choice: the numbers of the elements, integers (B,).
        """
        return self._moved(x, choice, [element.apply for element in self.elements])

    def transform(self, x: Tensor, choice: Tensor) -> Tensor:
        """Samples of the mixture from samples of the flow: apply to each the inverse of an element.

        Args:
            x: data (B, C, *shape).
            choice: the numbers of the elements, integers (B,).
        """
        return self._moved(x, choice, [element.undo for element in self.elements])

    def _moved(self, x: Tensor, choice: Tensor, maps: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        """Data under the maps of these numbers; the first one is the identity."""
        moved = x
        for number, one in enumerate(maps[1:], start=1):
            is_here = (choice == number).view(-1, *(1 for _ in x.shape[1:]))
            moved = torch.where(is_here, one(x), moved)
        return moved

    def log_prob_given(self, x: Tensor, log_q: Tensor, choice: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-density of data, (B,), of which the flow's density of one image is known: a pass less.

        Args:
            x: data (B, C, *shape).
            log_q: the log-density of the image of each of the data under `self.flow`, (B,).
            choice: the numbers of the elements that make these images, integers (B,).
            context: for a conditional flow, the contexts of the data; None for a flow without context.
        """
        images, contexts = self.images(x, context)
        n = len(self.elements)
        others = (choice + torch.arange(1, n, device=x.device)[:, None]) % n  # (n - 1, B)
        rows = (others * len(x) + torch.arange(len(x), device=x.device)).flatten()
        if contexts is not None and len(contexts) == len(images):
            contexts = contexts[rows]
        log_densities = self.flow.log_prob(images[rows], contexts).view(n - 1, len(x))
        return torch.cat([log_q[None], log_densities]).logsumexp(0) - math.log(n)

    def images(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The images of data under all elements, one after the other in one batch, with their contexts.

        Args:
            x: data (B, C, *shape).
            context: for a conditional flow, the contexts of the data; None for a flow without context.
        """
        self.flow.check_data("data", x)
        if context is not None and len(context) == len(x):
            context = context.repeat(len(self.elements), *(1 for _ in context.shape[1:]))
        return torch.cat([element(x) for element in self.elements]), context

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set the layers that start from data, such as ActNorm, from a first batch of data and its images.

        Args:
            x: data (B, C, *shape) in the flow's own space.
            context: for a conditional flow, floats (B, *plan.context) or class numbers (B,); None for a flow without
                context.

        Raises:
            ValueError: as `Flow.initialize` does.
        """
        self.flow.initialize(*self.images(x, context))

    def inference_cone(self, region: Region) -> Cone:
        """The latents of the flow that can change when pixels change; see `Flow.inference_cone`.

        Args:
            region: the pixels.
        """
        return self.flow.inference_cone(region)

    def generation_cone(self, level: int, site: Site) -> Cone:
        """The pixels that can change when latents of the flow change; see `Flow.generation_cone`.

        Args:
            level: the level of the latents, 0 for the finest.
            site: the coordinates of the site in the lattice of the level; or a bool mask of several sites.
        """
        return self.flow.generation_cone(level, site)

    @property
    def layout(self) -> Layout:  # type: ignore[override]
        """The layout of the flow."""
        return self.flow.layout

    @property
    def plan(self) -> Plan:  # type: ignore[override]
        """The compiled layout of the flow."""
        return self.flow.plan

    @property
    def context_encoder(self) -> ContextEncoder:  # type: ignore[override]
        """The module that checks contexts."""
        return self.flow.context_encoder

    @property
    def preprocess(self) -> Bijector:  # type: ignore[override]
        """The bijector from uint8 images to the flow's own space."""
        return self.flow.preprocess

    @property
    def recipe(self) -> Recipe | None:
        """The model and the options of the flow; None for a flow that was made by hand."""
        return self.flow.recipe

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of data, which `to` changes."""
        return self.flow.dtype

    @property
    def device(self) -> torch.device:
        """The device of the flow, which `to` changes."""
        return self.flow.device

    @property
    def memory(self) -> Mapping[str, str]:
        """The memory settings by the names of nodes; see `Flow.memory`."""
        return self.flow.memory

    @memory.setter
    def memory(self, value: str | Mapping[str, str]) -> None:
        self.flow.memory = value

    @property
    def summary(self) -> Summary:
        """The summary of the flow, with a title that says that it is symmetrised."""
        summary = self.flow.summary
        return replace(summary, title=f"Symmetrized {summary.title}")


def underlying(density: Density) -> Flow:
    """The flow inside a `Symmetrized`; any other flow is returned as it is.

    Args:
        density: a flow, or a symmetrised one.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(density, Symmetrized):
        return density.flow
    if not isinstance(density, Flow):
        raise InputError("a flow", type(density).__name__)
    return density
