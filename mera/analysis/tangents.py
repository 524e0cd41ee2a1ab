"""Derivatives of generated data with respect to latents, inside the generation cones of the latents.

A pass from latents to data is linearised event by event, and only the events in the cone of a latent are evaluated. The
cost of a receptive field therefore depends on the size of the cone, not on the size of the lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mera.bijectors.base import Bijector, context_arguments
from mera.graph.executor import run_forward
from mera.graph.plan import Plan, Step
from mera.graph.runner import Runner

MAX_FLOATS = 2**22
"""The largest number of floats in the events of one batch."""


class WiredStep(NamedTuple):
    """A step with the addresses from which its inverse reads its events, and to which it writes them, (events, n)."""

    step: Step
    inputs: Tensor
    outputs: Tensor


class Wiring:
    """The addresses of all variables of a plan; steps that only move variables need none.

    A bijector writes its outputs to the addresses from which the next bijector reads them. Addresses of the data come
    first, in the order (C, *shape); `latents` are those of each level, (C_h, *shape_h); `steps` lead to the data.
    """

    def __init__(self, plan: Plan) -> None:
        slots: list[tuple[Step, Tensor]] = []

        def record(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            slots.append((step, events.flatten(1)))
            return events, torch.zeros(len(events))

        n = plan.input.variables
        levels, _ = run_forward(plan, torch.arange(n).view(1, *plan.input.event_shape), record)
        following = torch.arange(n)  # for each variable the address from which the next step reads it
        self.size, wired = n, []
        for step, events in slots:
            inputs = self.size + torch.arange(events.numel()).view_as(events)
            wired.append(WiredStep(step, inputs, following[events]))
            following[events] = inputs
            self.size += events.numel()
        self.steps = tuple(reversed(wired))
        self.latents = tuple(following[level[0]] for level in levels)

    def cone(self, addresses: Tensor) -> tuple[list[tuple[WiredStep, Tensor]], Tensor]:
        """The steps with the indices of the events that change with latents at addresses (n,), and what changes."""
        changes = torch.zeros(self.size, dtype=torch.bool)
        changes[addresses] = True
        steps = []
        for wired in self.steps:
            events = changes[wired.inputs].any(1).nonzero()[:, 0]
            if len(events):
                changes[wired.outputs[events]] = True
                steps.append((wired, events))
        return steps, changes.nonzero()[:, 0]


class Linearization:
    """A pass from latents (S, C_h, *shape_h) of each level to data, with all intermediate values, for derivatives."""

    @torch.no_grad()
    def __init__(self, runner: Runner, z: Sequence[Tensor], context: Tensor | None = None) -> None:
        self.runner, self.samples = runner, len(z[0])
        self.wiring = Wiring(runner.plan)
        self._contexts = runner.contexts(context, z[0])
        self._values = z[0].new_empty(self.samples, self.wiring.size)
        """The variables of each sample by address, (S, addresses)."""
        for level, addresses in zip(z, self.wiring.latents, strict=True):
            self._values[:, addresses.flatten().to(level.device)] = level.flatten(1)
        for wired in self.wiring.steps:
            bijector, inputs = runner.bijector(wired.step), wired.inputs.flatten().to(z[0].device)
            events = self._values[:, inputs].view(-1, *wired.step.apply.event_shape)
            x, _ = bijector.inverse(events, *context_arguments(bijector, self._contexts(wired.step)))
            self._values[:, wired.outputs.flatten().to(z[0].device)] = x.reshape(self.samples, -1)

    @torch.no_grad()
    def fields(self, addresses: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of the data with respect to K latents at addresses (K,) that share most of a cone.

        Returns:
            The flat indices (n,), in the order (C, *shape), of the variables of the data in the generation cone of the
            latents; and the derivatives (K, S, n).
        """
        steps, changed = self.wiring.cone(addresses)
        place = torch.full((self.wiring.size,), len(changed))  # outside the cone: a column of zeros
        place[changed] = torch.arange(len(changed))
        place = place.to(self._values.device)
        tangents = self._values.new_zeros(len(addresses), self.samples, len(changed) + 1)
        tangents[torch.arange(len(addresses)), :, place[addresses]] = 1
        for wired, events in steps:
            for part in events.split(max(1, MAX_FLOATS // (len(addresses) * self.samples * wired.inputs.shape[1]))):
                sources, targets = place[wired.inputs[part].flatten()], place[wired.outputs[part].flatten()]
                tangents[..., targets] = self._push(wired, part, tangents[..., sources])
        data = changed[changed < self.runner.plan.input.variables]
        return data, tangents[..., place[data]]

    def _push(self, wired: WiredStep, events: Tensor, tangents: Tensor) -> Tensor:
        """Push derivatives (K, S, events * variables) through the inverse of a bijector."""
        step, device = wired.step, tangents.device
        bijector = self.runner.bijector(step)
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            z = self._values[:, wired.inputs[events].flatten().to(device)].reshape(-1, *step.apply.event_shape).clone()
            context = self._contexts(step)
            if context is not None:
                rows = torch.arange(self.samples, device=device)[:, None] * (len(context) // self.samples)
                context = context.clone()[(rows + events.to(device)).flatten()]
            tangents = tangents.clone()  # outside of the caller's mode
            pushed = _products(partial(_inverse, bijector, context), z, [t.reshape(z.shape) for t in tangents])
        return torch.stack(pushed).reshape(tangents.shape)


def _inverse(bijector: Bijector, context: Tensor | None, z: Tensor) -> Tensor:
    return bijector.inverse(z, *context_arguments(bijector, context))[0]


def _products(function: Callable[[Tensor], Tensor], z: Tensor, tangents: Sequence[Tensor]) -> list[Tensor]:
    """The products J t of the Jacobian of a function at z with tangents t.

    J t is the derivative of t^T (J^T v) with respect to v, where J^T v is computed once for all t. Forward mode takes
    longer, as torch runs its sums and products in Python.
    """
    z = z.requires_grad_()
    x = function(z)
    v = torch.zeros_like(x, requires_grad=True)
    (product,) = torch.autograd.grad(x, z, v, create_graph=True)
    return [torch.autograd.grad(product, v, t, retain_graph=True)[0] for t in tangents]
