"""Addresses of all variables on the way from latents to data, so that derivatives visit the cones of latents alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mera.graph.executor import run_forward
from mera.graph.plan import Plan, Step


@dataclass(frozen=True, eq=False)
class WiredStep:
    """A step that applies a bijector, with the addresses of its variables in one buffer.

    Args:
        step: the step.
        inputs: the addresses from which the inverse of the bijector reads its events, (events, variables).
        outputs: the addresses to which the inverse of the bijector writes its events, (events, variables).
    """

    step: Step
    inputs: Tensor
    outputs: Tensor


class Wiring:
    """The addresses of all variables of a plan; steps that only move variables need none.

    A bijector writes its outputs to the addresses from which the next bijector reads them.

    Attributes:
        steps: the steps that apply a bijector, in the order from latents to data.
        latents: for each level, finest first, the addresses of the latents, (C_h, *shape_h).
        size: the number of addresses; those of the data come first, in the order (C, *shape).
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
        """The steps with the indices of the events that change with latents, and all addresses that change.

        Args:
            addresses: the addresses of the latents, (n,).
        """
        changes = torch.zeros(self.size, dtype=torch.bool)
        changes[addresses] = True
        steps = []
        for wired in self.steps:
            events = changes[wired.inputs].any(1).nonzero()[:, 0]
            if len(events):
                changes[wired.outputs[events]] = True
                steps.append((wired, events))
        return steps, changes.nonzero()[:, 0]
