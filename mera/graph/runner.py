"""A plan with all that it takes to run it: bijectors, prior, contexts, and what a backward pass may keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mera.bijectors.base import Bijector, context_arguments
from mera.graph.contexts import ContextEncoder, ContextOfStep, context_per_step
from mera.graph.executor import Transform, run_forward, run_inverse
from mera.graph.memory import MEMORY
from mera.graph.plan import Plan, Step
from mera.priors import Prior

__all__ = ["Runner"]


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs a plan with its bijectors. A flow makes one for each pass, so that it never holds what has been replaced.

    Whatever runs a flow in whole or in part uses a runner: passes, initialisation, restriction, windows, the search
    for a NaN.

    Args:
        plan: the plan.
        bijectors: by the key that the plan's steps name.
        prior: the density of the latents.
        context_encoder: turns a user's context into numbers.
        memory: by node, what a forward pass keeps for the backward pass; see `mera.graph.memory`.
        reference: a tensor with the flow's dtype and device.
    """

    plan: Plan
    bijectors: Mapping[str, nn.Module]
    prior: Prior
    context_encoder: ContextEncoder
    memory: Mapping[str, str]
    reference: Tensor

    def bijector(self, step: Step) -> Bijector:
        """The bijector of a step."""
        return cast(Bijector, self.bijectors[step.module])

    def contexts(self, context: Tensor | None, batch: Tensor) -> ContextOfStep:
        """The function from a step to the context of its events.

        Args:
            context: what a user passed.
            batch: the data or latents (B, ...) that the context is for.

        Raises:
            ValueError: see `ContextEncoder`.
        """
        values = self.context_encoder(context, batch.shape[0], batch.device)
        return context_per_step(self.plan, values, batch, lambda step: self.bijector(step).context_shape is not None)

    def forward_transform(self, contexts: ContextOfStep) -> Transform:
        """What each step does to its events in a forward pass, for `run_forward`."""

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            run = MEMORY[self.memory.get(step.node, "store")]
            return run(self.bijector(step), events, contexts(step))

        return transform

    def inverse_transform(self, contexts: ContextOfStep) -> Transform:
        """What each step does to its events in an inverse pass, for `run_inverse`."""

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            bijector = self.bijector(step)
            return bijector.inverse(events, *context_arguments(bijector, contexts(step)))

        return transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Data (B, C, *shape) to latents, one tensor for each level, and the log-det (B,)."""
        return run_forward(self.plan, x, self.forward_transform(self.contexts(context, x)))

    def inverse(self, z: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents to data (B, C, *shape), and the log-det (B,) of that direction."""
        return run_inverse(self.plan, z, self.inverse_transform(self.contexts(context, z[0])))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let each bijector start from the events that data (B, C, *shape) bring to it, in the order of the steps.

        Raises:
            ValueError: if a bijector cannot start from so few events; the message names the node.
        """
        contexts = self.contexts(context, x)

        def transform(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            try:
                initialized = self.bijector(step).initialize(events, contexts(step))
            except ValueError as error:
                raise ValueError(f"node {step.node!r}: {error}") from error
            return initialized, events.new_zeros(events.shape[0])

        run_forward(self.plan, x, transform)
