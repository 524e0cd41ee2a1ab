"""The runner: a plan with the bijectors, prior and contexts that are needed to run the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mera._utils.torch_private import is_recording
from mera.bijectors.base import Bijector, checked_result, context_arguments, inputs_kept
from mera.bijectors.local import evaluate
from mera.bijectors.prior import Prior
from mera.graph.contexts import Context, ContextEncoder, event_context
from mera.graph.executor import Transform, run_forward, run_inverse
from mera.graph.layout_error import within
from mera.graph.local_fields import is_local
from mera.graph.plan import Plan, Step

ContextOfStep = Callable[[Step], Tensor | None]
"""From a step to the contexts of its events, (events, *shape), or to None if its bijector does not take a context."""

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
    bijectors: Mapping[str, Bijector]
    prior: Prior
    context_encoder: ContextEncoder
    checkpoint: bool
    reference: Tensor

    def bijector(self, step: Step) -> Bijector:
        """The bijector of a step whose operation is `Apply`."""
        return self.bijectors[step.module]

    def is_local(self, step: Step) -> bool:
        """Return whether the field bijector of a step can be evaluated on boxes of its lattice."""
        return is_local(self.bijector(step), step.apply.lattice)

    def encoded_context(self, context: Context | None, batch: Tensor) -> Tensor | None:
        """The contexts (B, *plan.context) of data or latents (B, ...), in their dtype; None for a flow without context.

        For `context` see `ContextEncoder.forward`.

        Raises:
            ValueError: if the context is missing, of another shape, dtype or device, or a class number is out of range.
        """
        values = self.context_encoder(context, batch.shape[0], batch.device)
        return None if values is None else values.to(batch.dtype).expand(batch.shape[0], *values.shape[1:])

    def takes_context(self, step: Step) -> bool:
        """Return whether the bijector of a step takes a context."""
        return self.plan.context is not None and self.bijector(step).context_shape is not None

    def contexts(self, context: Context | None, batch: Tensor) -> ContextOfStep:
        """The contexts of the events of each step; see `encoded_context` for the arguments, and what is refused."""
        values: Any = self.encoded_context(context, batch)
        return lambda step: event_context(self.plan, step.apply, values) if self.takes_context(step) else None

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Map data to latents; see `Flow.forward`."""
        return run_forward(self.plan, x, self.transform(self.contexts(context, x)))

    def inverse(self, z: Sequence[Tensor], context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data; see `Flow.inverse`."""
        return run_inverse(self.plan, z, self.transform(self.contexts(context, z[0]), inverse=True))

    def transform(self, contexts: ContextOfStep, inverse: bool = False) -> Transform:
        """The function for the executor that applies the bijectors, or their inverses."""

        def transform_events(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            keeps_inputs = self.checkpoint and not inverse and torch.is_grad_enabled()
            with inputs_kept() if keeps_inputs else nullcontext():
                return in_pieces(self.bijector(step), events, contexts(step), inverse, f"node {step.node!r}")

        return transform_events

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> None:
        """Initialise each bijector with its events, in the order of the steps; see `Flow.initialize`."""
        contexts = self.contexts(context, x)

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            with within(f"node {step.node!r}"):
                bijector = self.bijector(step)
                initialized = bijector.initialize(events, *context_arguments(bijector, contexts(step)))
            return initialized, events.new_zeros(events.shape[0])

        run_forward(self.plan, x, transform)


def in_pieces(
    bijector: Bijector, events: Tensor, contexts: Tensor | None, inverse: bool, where: str
) -> tuple[Tensor, Tensor]:
    """Transform events (n, *event_shape) piece by piece on the CPU without gradients, otherwise in one call."""
    # a recorded tensor has no Python sizes
    at_once = torch.is_grad_enabled() or is_recording() or torch.compiler.is_compiling() or events.device.type != "cpu"
    if at_once or events.numel() <= 2 * VALUES:
        return evaluate(bijector, events, contexts, inverse)
    rows = -(-len(events) // -(-events.numel() // VALUES))  # equal pieces: a small last one would cost a call
    pieces = events.split(rows)
    piece_contexts = [None] * len(pieces) if contexts is None else contexts.split(rows)
    results = [
        checked_result(evaluate(bijector, piece, context, inverse), piece, where=where)
        for piece, context in zip(pieces, piece_contexts, strict=True)
    ]
    changed, log_dets = zip(*results, strict=True)
    return torch.cat(changed), torch.cat(log_dets)
