"""The runner: a plan with the bijectors, prior and contexts that are needed to run the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mera._utils.torch_private import is_recording
from mera.bijectors.base import Bijector, context_arguments, total
from mera.bijectors.prior import Prior
from mera.graph.contexts import ContextEncoder, ContextOfStep, context_per_step
from mera.graph.executor import Transform, run_forward, run_inverse
from mera.graph.layout_error import within
from mera.graph.local_fields import is_local, on_lattice
from mera.graph.plan import Plan, Step

Events = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""From events (n, *event_shape) and their contexts to the transformed events and the log-det (n,) of each."""

VALUES = 2**18
"""The approximate number of values in a piece. Networks compute ten times as many values from them, which fit in the
caches of most processors. Larger pieces are limited by memory bandwidth, smaller ones by the number of operations."""


@dataclass(frozen=True, eq=False)
class Runner:
    """Run a plan with the bijectors of a flow.

    All code that runs a flow, as a whole or in part, uses a runner. A flow makes a new runner for each pass, so that
    replaced modules are never used.

    Args:
        plan: the plan.
        bijectors: the bijectors, by the key in `Step.module`.
        prior: the prior of the latents.
        context_encoder: checks contexts, and turns class numbers into vectors.
        checkpoint: whether a forward pass keeps only the inputs of layers; see `Flow.checkpoint`.
        reference: a tensor with the dtype and device of the flow.
    """

    plan: Plan
    bijectors: Mapping[str, nn.Module]
    prior: Prior
    context_encoder: ContextEncoder
    checkpoint: bool
    reference: Tensor

    def bijector(self, step: Step) -> Bijector:
        """The bijector of a step whose operation is `Apply`; lattices of several sizes may share its parameters."""
        return on_lattice(cast(Bijector, self.bijectors[step.module]), step.apply.event_shape)

    def is_local(self, step: Step) -> bool:
        """Whether the field bijector of a step can be evaluated on boxes of its lattice."""
        return is_local(self.bijector(step), step.apply.lattice)

    def contexts(self, context: Tensor | None, batch: Tensor) -> ContextOfStep:
        """The function from a step to the contexts of its events.

        Args:
            context: the argument of the user: floats (B, *plan.context), class numbers (B,), or None.
            batch: the data or latents (B, ...) of the context.

        Raises:
            ValueError: if the context is missing, of another shape, dtype or device, or a class number is out of range.
        """
        values = self.context_encoder(context, batch.shape[0], batch.device)
        return context_per_step(self.plan, values, batch, lambda step: self.bijector(step).context_shape is not None)

    def forward_transform(self, contexts: ContextOfStep) -> Transform:
        """The function that transforms the events of a step in a forward pass, for `run_forward`."""

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            run = _checkpointed if self.checkpoint and torch.is_grad_enabled() else _forward
            return in_pieces(partial(run, self.bijector(step)), events, contexts(step))

        return transform

    def inverse_transform(self, contexts: ContextOfStep) -> Transform:
        """The function that transforms the events of a step in an inverse pass, for `run_inverse`."""

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            bijector = self.bijector(step)

            def run(part: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
                return bijector.inverse(part, *context_arguments(bijector, context))

            return in_pieces(run, events, contexts(step))

        return transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Map data to latents; see `Flow.forward`."""
        return run_forward(self.plan, x, self.forward_transform(self.contexts(context, x)))

    def inverse(self, z: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data; see `Flow.inverse`."""
        return run_inverse(self.plan, z, self.inverse_transform(self.contexts(context, z[0])))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise each bijector with its events, in the order of the steps; see `Flow.initialize`."""
        contexts = self.contexts(context, x)

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            with within(f"node {step.node!r}"):
                bijector = self.bijector(step)
                initialized = bijector.initialize(events, *context_arguments(bijector, contexts(step)))
            return initialized, events.new_zeros(events.shape[0])

        run_forward(self.plan, x, transform)


def in_pieces(run: Events, events: Tensor, contexts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Transform events piece by piece on the CPU without gradients, otherwise in one call.

    Args:
        run: transforms events.
        events: the events (n, *event_shape).
        contexts: the contexts (n, *context_shape), or None.
    """
    if torch.is_grad_enabled() or is_recording() or torch.compiler.is_compiling():  # first: a recording has no sizes
        return run(events, contexts)
    if events.device.type != "cpu" or events.numel() <= 2 * VALUES:
        return run(events, contexts)
    rows = -(-len(events) // -(-events.numel() // VALUES))  # equal pieces: a small last one would cost a call
    pieces = events.split(rows)
    piece_contexts = [None] * len(pieces) if contexts is None else contexts.split(rows)
    results = [run(piece, context) for piece, context in zip(pieces, piece_contexts, strict=True)]
    for piece, result in zip(pieces, results, strict=True):
        shapes = [getattr(part, "shape", None) for part in result] if isinstance(result, tuple) else None
        if shapes != [piece.shape, piece.shape[:1]]:
            return run(events, contexts)  # the caller checks the result and raises the error
    changed, log_dets = zip(*results, strict=True)
    return torch.cat(changed), torch.cat(log_dets)


def _forward(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    return bijector(x, *context_arguments(bijector, context))


def _checkpointed(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a bijector, and keep the input of each layer: the backward pass runs the layer again."""
    terms = []
    for layer in bijector.layers:
        run = layer if torch.compiler.is_compiling() else _with_the_same_weights(layer)
        x, term = checkpoint(run, x, *context_arguments(layer, context), use_reentrant=False)
        terms.append(term)
    return x, total(terms)


def _with_the_same_weights(layer: Bijector) -> Callable[..., Any]:
    """The layer as a function that refuses to run again with other weights, whose gradients would be wrong."""
    weights: list[Any] = []

    def run(*arguments: Any) -> Any:
        weights.append([(parameter.data_ptr(), parameter._version) for parameter in layer.parameters()])
        if weights[-1] != weights[0]:
            raise RuntimeError(
                "Expected the weights of the forward pass in the backward pass, for checkpoint=True; got others: set "
                "checkpoint=False to change weights in between, or with torch.func.functional_call"
            )
        return layer(*arguments)

    return run
