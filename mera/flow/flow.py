"""Flows: a compiled layout with bijectors, a prior of the latents, and a bijector from images to data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mera._utils.checks import check_count, check_latents, check_tensor, is_list
from mera._utils.errors import InputError
from mera._utils.random import restored_states
from mera.bijectors import ImagePreprocess
from mera.bijectors.base import context_arguments, zero_log_det
from mera.bijectors.circular import check_angles
from mera.bijectors.prior import Prior, PriorLike, temperature_per_level
from mera.executor.bijectors_of_plan import check_lattices, make_bijectors
from mera.executor.contexts import Context, ContextEncoder
from mera.executor.passes import run_forward, run_inverse
from mera.flow.density import Recipe, Temperature
from mera.flow.in_parts import FlowInParts
from mera.graph import Layout, LayoutError, Step, compile
from mera.graph.lattice import per_dimension
from mera.graph.layout_error import within
from mera.graph.modules import Bijectors, structure_of
from mera.graph.summary import Summary, summarize

Latents = tuple[Tensor, ...]
"""One tensor per level, finest first: z[h] is (B, channels_h, *sites_h)."""


class Flow(FlowInParts):
    r"""A hierarchical normalizing flow (RG-Flow, Eq. 1 and 7, https://arxiv.org/abs/2010.00029).

    .. math:: \log p(x) = \log p(z) + \log |\det \partial z / \partial x|

    `forward` maps data to latents, the direction of renormalisation; `inverse` generates data from latents.
    Methods that evaluate the flow raise a `ValueError` if the number of levels, or the shape, dtype or device of data
    or latents is not the flow's, or if a context is missing or not of the flow's context shape. Methods that draw
    samples raise it if the number of samples is not an integer >= 0, a temperature is not positive, or the prior has no
    sampler at this temperature.

    Args:
        layout: the declaration of the flow; the flow keeps a copy.
        prior: the density of the latents: a `mera.Prior`, or its argument, such as "gaussian".
        classes: the number of classes of a class-conditional flow, which learns a context for each class; None for a
            flow that takes contexts as floats, or no contexts.

    Attributes:
        recipe: the model and the options with which `mera.build` made the flow; None for a flow made by hand.
        layout: a copy of the layout.
        plan: the compiled layout.
        bijectors: the bijectors, by the key in `Step.module` of the plan's steps.
        prior: the density of the latents.
        context_encoder: the module that checks contexts, and replaces class numbers by learnt vectors.
        preprocess: the bijector from uint8 images to the flow's own space.
        of_angles: whether the flow acts on angles in [-pi, pi), and its density is periodic.

    Raises:
        LayoutError: if the layout is not a bijection.
        ValueError: if bijectors of angles are mixed with bijectors of real numbers, or have a prior of real numbers.
    """

    bijectors: Bijectors

    def __init__(
        self,
        layout: Layout,
        prior: PriorLike | Prior = "gaussian",
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.recipe: Recipe | None = None
        self.keeps_inputs = False
        self.plan = compile(layout)
        self.layout = layout.frozen()  # later changes of the layout are not in the plan
        self.bijectors = make_bijectors(self.plan, self.layout)
        self.context_encoder = ContextEncoder(self.plan.context, classes)
        self.prior = prior if isinstance(prior, Prior) else Prior(prior)
        by_node: dict[str, Any] = {step.node: self.bijectors[step.module] for step in self.plan.bijections}
        self.of_angles = check_angles(by_node, self.prior)
        self.preprocess = ImagePreprocess().to(self.reference)
        self._built = self._structures()

    @property
    def replaced(self) -> list[str]:
        """The keys of bijectors, and the preprocessing, that were replaced or removed since the flow was built."""
        now = self._structures()
        return sorted(name for name in self._built.keys() | now.keys() if now.get(name) != self._built.get(name))

    def _structures(self) -> dict[str, Any]:
        """The structure of each bijector by its key, and that of the preprocessing."""
        modules = {"the preprocessing": self.preprocess, **self.bijectors}
        return {name: structure_of(module) for name, module in modules.items()}

    def level(self, number: int) -> nn.ModuleList:
        """The bijectors of a level, in the order from data to latents; levels may share bijectors.

        The level of a bijector is that of the first latents that leave after it; see `Step.level`.

        Args:
            number: the level, 0 for the finest.

        >>> import mera
        >>> flow = mera.build("rgflow", L=8, m=4, hidden=(8,))
        >>> _ = flow.level(1).requires_grad_(False)  # train only the finest level
        """
        level = self.plan.check_level(number)
        return nn.ModuleList(self.bijectors[s.module] for s in self.plan.bijections if s.level == level)

    # Data and latents

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Latents, Tensor]:
        r"""Map data to latents.

        Args:
            x: data (B, C, *shape) in the flow's own space.
            context: the contexts of the data; None for a flow without context.

        Returns:
            The latents, one tensor (B, C_h, *shape_h) for each level, finest first; and
            :math:`\log |\det \partial z / \partial x|`, (B,).
        """
        self.check_data("data", x)
        return run_forward(self.plan, x, self.step_function(self.contexts(context, x)))

    def inverse(self, z: Sequence[Tensor], context: Context | None = None) -> tuple[Tensor, Tensor]:
        r"""Map latents to data.

        Args:
            z: the latents, one tensor (B, C_h, *shape_h) for each level, finest first.
            context: the contexts of the data; None for a flow without context.

        Returns:
            The data (B, C, *shape) in the flow's own space; and :math:`\log |\det \partial x / \partial z|`, (B,).
        """
        self._check_latents(z)
        return run_inverse(self.plan, z, self.step_function(self.contexts(context, z[0]), inverse=True))

    def to_lattice(self, z: Sequence[Tensor]) -> Tensor:
        """Lay out the latents z of all levels on the pixel lattice, (B, C, *shape), each latent at its own site.

        RG-Flow arranges them like this (https://arxiv.org/abs/2010.00029). `from_lattice` collects them again.
        """
        self._check_latents(z)
        return run_inverse(self.plan, z, _identity)[0]

    def from_lattice(self, t: Tensor) -> Latents:
        """Collect the latents of all levels that `to_lattice` laid out on the pixel lattice, (B, C, *shape)."""
        self.check_data("latents on the lattice", t)
        return run_forward(self.plan, t, _identity)[0]

    def progression(self, z: Sequence[Tensor], context: Context | None = None) -> tuple[Tensor, ...]:
        """Generate data from latents as `inverse` does, and return the lattice at each level on the way.

        The lattices are :math:`x^{(h)}` of RG-Flow (Eq. 2 to 4 and Fig. 3a, https://arxiv.org/abs/2010.00029), finest
        first: the data, (B, C, *shape), then the coarser lattices from which it was generated.
        """
        self._check_latents(z)
        values = {latent.value: level for latent, level in zip(self.plan.latents, z, strict=True)}
        run_step = self.step_function(self.contexts(context, z[0]), inverse=True)
        run_inverse(self.plan, z, run_step, watch=values.__setitem__)
        return tuple(values[value] for value in self.plan.entries)

    # Probability

    def log_prob(self, x: Tensor, context: Context | None = None) -> Tensor:
        """The log-density, (B,) in nats, of data (B, C, *shape) in the flow's own space."""
        z, log_det = self(x) if context is None else self(x, context)
        return self.prior.log_prob(z) + log_det

    @torch.no_grad()
    def sample_latents(
        self, n: int | Sequence[int], temperature: Temperature = 1.0, device: torch.device | str | None = None
    ) -> Latents:
        """Draw `n` latents from the prior at a temperature, one for all levels or one for each, without gradients."""
        number = check_count(n[0] if is_list(n) and len(n) == 1 else n, "a number of samples", 0)
        shapes = [(number, *latent.lattice.event_shape) for latent in self.plan.latents]
        like = self.reference if device is None else self.reference.to(device)
        return self.prior.sample(shapes, temperature_per_level(temperature, len(shapes)), like)

    draw_noise = sample_latents

    def generate(self, noise: Sequence[Tensor], context: Context | None = None) -> Tensor:
        """Generate data (n, C, *shape) from latents, differentiable in parameters and context."""
        return self.inverse(noise, context)[0]

    def generate_with_log_prob(self, noise: Sequence[Tensor], context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Generate data from latents, with the log-density of each, (n,), in one pass."""
        x, log_det = self.inverse(noise, context)
        return x, self.prior.log_prob(noise) - log_det

    @property
    def needs_context(self) -> bool:
        """Return whether a context must be passed, as to a conditional flow whose context `given` has not fixed."""
        return self.context_encoder.needs_context

    def given(self, context: Context) -> Flow:
        """The flow for one context, as a flow without context, with the same parameters."""
        encoder = self.context_encoder
        return self.changed(context_encoder=ContextEncoder(encoder.shape, encoder.embedding, context))

    def resized(self, shape: int | Sequence[int], levels: int | None = None) -> Flow:
        """Return a flow on a lattice of another shape, with the same bijectors and the same parameters.

        Parameters are shared, not copied: training one flow trains the other, and `to` moves the parameters of both
        (call this method again after `to`). Shapes are those that the layout allows: for RG-Flow with `levels` levels,
        all multiples of m 2^(levels - 1).

        Args:
            shape: the edge lengths, or one for all dimensions.
            levels: the number of levels; None for as many as before. A flow whose levels share their bijectors may have
                more, or fewer, as long as two of them share, if it has not been resized before.

        Raises:
            LayoutError: if a node does not fit the lattice, or has parameters for each of its sites.

        >>> import mera
        >>> flow = mera.build("rgflow", L=32, hidden=(8,))
        >>> large = flow.resized((64, 96))
        >>> large.plan.input.shape, large.n_parameters == flow.n_parameters
        ((64, 96), True)
        """
        number = 1 + max((step.level for step in self.plan.steps), default=0)
        edges = per_dimension(shape, self.plan.input.dim, "shape", 1)
        if levels is None or (levels == number and not (self.recipe and self.recipe.options.get("share_levels"))):
            units = self.plan.period
            if any(edge % unit for edge, unit in zip(edges, units, strict=True)):
                got = f"{edges}; mera.data.reflected(images, flow) has such edges"
                raise LayoutError(f"multiples of {units} as edges, which the patches tile", got, field="shape")
            layout = self.layout.resized(edges)
        elif self.recipe is None or "levels" not in self.recipe.options:
            raise InputError("a flow of mera.build, not resized before, of a model with levels", "another one")
        else:
            changes: dict[str, Any] = {"L": list(edges), "levels": levels}
            if self.plan.context is not None and len(self.plan.context) > 1:
                changes["context"] = [self.plan.context[0], *edges]
            with restored_states(), torch.inference_mode(False):  # only the layout of the new flow is used
                layout = self.recipe.rebuild(**changes).layout
        plan = compile(layout)
        if {step.module for step in plan.bijections} != set(self.bijectors):
            raise InputError("at least two levels that share their bijectors, before and after", f"{levels} levels")
        check_lattices(plan, self.bijectors)
        encoder = self.context_encoder
        if plan.context != encoder.shape:
            if encoder.fixed is not None:
                raise InputError("to resize a flow first, then to fix its context of each pixel", "a fixed context")
            encoder = ContextEncoder(plan.context, encoder.embedding)
        return self.changed(layout=layout.frozen(), plan=plan, context_encoder=encoder, recipe=None)

    @property
    def flow(self) -> Flow:
        """The flow itself."""
        return self

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> None:
        """Initialise layers such as ActNorm from a first batch of data; a batch that is refused changes nothing."""
        self.check_data("data", x)
        if len(x) == 0:
            raise InputError("at least one example to start from", "none")
        if not x.isfinite().all():
            raise InputError("finite data to start from", f"{int((~x.isfinite()).sum())} infinite or NaN variables")
        state = {name: tensor.clone() for name, tensor in self.bijectors.state_dict().items()}
        contexts = self.contexts(context, x)

        def initialize(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            bijector = self.bijector(step)
            with within(f"node {step.node!r}"):
                return bijector.initialize(events, *context_arguments(bijector, contexts(step))), zero_log_det(events)

        try:
            run_forward(self.plan, x, initialize)
        except BaseException:
            self.bijectors.load_state_dict(state)  # a refused batch changes nothing
            raise

    # Description

    @property
    def summary(self) -> Summary:
        """Tables of the nodes and the levels, and the number of parameters."""
        modules = dict(self.bijectors.items())
        return summarize(self.plan, self.layout, modules, self.prior.extra_repr(), self.n_parameters)

    def check_data(self, what: str, x: Tensor) -> None:
        """Refuse data that is not (B, C, *shape), or not of the flow's dtype and device; messages call it `what`."""
        check_tensor(what, x, self.plan.input.event_shape, self.reference)

    def _check_latents(self, z: Sequence[Tensor]) -> None:
        """Refuse latents that are not of the flow's levels, shapes, dtype and device."""
        check_latents("latents", z, [latent.lattice.event_shape for latent in self.plan.latents], self.reference)


def _identity(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
    """Return events as they are, for passes that only move variables."""
    return events, events.new_zeros(events.shape[0])
