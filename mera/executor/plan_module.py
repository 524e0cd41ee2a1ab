"""A plan with the bijectors, the prior and the contexts of its steps: what runs a flow, as a whole or in part."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mera._utils.torch_private import is_called_plainly
from mera.bijectors.base import Bijector, total
from mera.bijectors.compose import Chain
from mera.bijectors.elementwise import Conditioned
from mera.bijectors.local import is_local
from mera.bijectors.prior import Prior
from mera.executor.contexts import Context, ContextEncoder, event_context
from mera.executor.passes import StepFunction
from mera.executor.watching import watching
from mera.graph.modules import Bijectors
from mera.graph.plan import Plan, Step

ContextOfStep = Callable[[Step], Tensor | None]
"""From a step to the contexts of its events, (events, *shape), or to None if its bijector does not take a context."""

VALUES = 2**18
"""The approximate number of values in a piece. Networks compute ten times as many values from them, which fit in the
caches of most processors. Larger pieces are limited by memory bandwidth, smaller ones by the number of operations."""


class PlanModule(nn.Module):
    """A plan with its bijectors: the base class of `mera.Flow`, which all code that runs a flow in part asks for.

    Its attributes are described at `mera.Flow`; `keeps_inputs` is `Flow.checkpoint`.
    """

    plan: Plan
    bijectors: Bijectors
    prior: Prior
    context_encoder: ContextEncoder
    keeps_inputs: bool
    of_angles: bool

    @property
    def reference(self) -> Tensor:
        """A tensor with the dtype and device of the flow."""
        return self.bijectors._reference

    def bijector(self, step: Step) -> Bijector:
        """The bijector of a step whose operation is `Apply`."""
        bijector: Any = self.bijectors[step.module]
        return bijector

    def is_local(self, step: Step) -> bool:
        """Return whether the field bijector of a step can be evaluated on boxes of its lattice."""
        return is_local(self.bijector(step), step.apply.lattice)

    def encoded_context(self, context: Context | None, batch: Tensor) -> Tensor | None:
        """The contexts (B, *plan.context) of data or latents (B, ...), in their dtype; None for a flow without context.

        For `context` see `ContextEncoder.forward`.
        """
        values = self.context_encoder(context, batch.shape[0], batch.device)
        return None if values is None else values.to(batch.dtype).expand(batch.shape[0], *values.shape[1:])

    def contexts(self, context: Context | None, batch: Tensor) -> ContextOfStep:
        """The contexts of the events of each step; see `encoded_context` for the arguments, and what is refused."""
        values = self.encoded_context(context, batch)

        def of_step(step: Step) -> Tensor | None:
            if values is None or self.bijector(step).context_shape is None:
                return None
            return event_context(self.plan, step.apply, values)

        return of_step

    def step_function(self, contexts: ContextOfStep, inverse: bool = False) -> StepFunction:
        """The function of a pass that applies the bijector of a step, or its inverse, to the events of the step."""
        watch = None if torch.compiler.is_compiling() else watching.get()  # torch does not compile it

        def run_step(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            bijector: Any = self.bijectors[step.module]
            run = bijector.inverse if inverse else bijector
            given: Any = () if bijector.context_shape is None else (contexts(step),)
            if bijector.event_shape not in (None, events.shape[1:]):  # a bijector may have been replaced
                bijector.check_events(events)
            if torch.is_grad_enabled() or torch.compiler.is_compiling():
                if self.keeps_inputs and not inverse:
                    return _keeping_inputs(bijector, events, *given)
            elif events.numel() > 2 * VALUES and events.device.type == "cpu":
                return _in_pieces(run, events, *given, watch=watch and partial(watch, step))
            result: tuple[Tensor, Tensor] = run(events, *given)
            if watch is not None:
                watch(step, events.numel())
            return result

        return run_step

    def changed(self, **changes: Any) -> Self:
        """A copy with some attributes changed, which shares all others, and so all parameters, with this module."""
        other = copy.copy(self)
        vars(other).update({name: value.copy() for name, value in vars(self).items() if isinstance(value, dict)})
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def with_copies(self, keys: Collection[str]) -> Self:
        """A copy with its own prior, contexts and bijectors, only those of these keys, all without gradients."""
        bijectors = Bijectors(self.reference)
        bijectors.update({key: copy.deepcopy(self.bijectors[key]) for key in keys})
        prior, context_encoder = copy.deepcopy(self.prior), copy.deepcopy(self.context_encoder)
        for module in (bijectors, prior, context_encoder):
            module.requires_grad_(False)
        return self.changed(bijectors=bijectors, prior=prior, context_encoder=context_encoder)


def _in_pieces(
    run: Any, events: Tensor, *context: Tensor, watch: Callable[[int], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Transform events (n, *event_shape) piece by piece, which is faster without gradients."""
    rows = -(-len(events) // -(-events.numel() // VALUES))  # equal pieces: a small last one would cost a call
    pieces = zip(*(part.split(rows) for part in (events, *context)), strict=True)
    changed, log_dets = [], []
    for piece in pieces:
        values, log_det = run(*piece)
        changed.append(values)
        log_dets.append(log_det)
        if watch is not None:
            watch(piece[0].numel())
    return torch.cat(changed), torch.cat(log_dets)


def _keeping_inputs(bijector: Bijector, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
    """Call a bijector and keep only its inputs, those of the layers that it is made of, for the backward pass.

    Raises:
        RuntimeError: in the backward pass, if the weights are others then, whose gradients would be wrong.
    """
    is_plain = is_called_plainly(bijector)  # else its hooks would not run
    if type(bijector) is Conditioned and is_plain:
        values, log_det = _keeping_inputs(bijector.bijector, *bijector.split(x, *context))
        return bijector.replaced(x, values), log_det
    if type(bijector) is Chain and is_plain:
        log_dets = []
        for member in bijector.bijectors:
            x, log_det = _keeping_inputs(member, x, *(context if member.context_shape is not None else ()))
            log_dets.append(log_det)
        return x, total(log_dets)
    weights: list[Any] = []

    def run(x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        if not torch.compiler.is_compiling():
            weights.append([(parameter.data_ptr(), parameter._version) for parameter in bijector.parameters()])
            if weights[-1] != weights[0]:
                raise RuntimeError(
                    "Expected the weights of the forward pass in the backward pass, for checkpoint=True; got others: "
                    "set checkpoint=False to change weights in between, or with torch.func.functional_call"
                )
        return bijector(x, *context)

    return checkpoint(run, x, *context, use_reentrant=False)
