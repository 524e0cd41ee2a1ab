"""The printed form of a flow: tables of its nodes and levels."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from mera._utils.table import table
from mera.graph.actions import Apply
from mera.graph.plan import Plan

__all__ = ["count_parameters", "summarize"]


def count_parameters(module: nn.Module) -> int:
    """The number of learnable parameters of a module, counted as single numbers.

    Args:
        module: the module.
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def summarize(plan: Plan, bijectors: Mapping[str, nn.Module], prior: str) -> str:
    """Describe a flow: the number of parameters, a table of the nodes, and a table of the levels of latents.

    Args:
        plan: the plan of the flow.
        bijectors: the bijectors, by the key in `Step.module`.
        prior: the prior as text.
    """
    seen: set[str] = set()
    nodes = []
    for step in plan.steps:
        if isinstance(step.action, Apply):
            module = bijectors[step.module]
            parameters = f"shared with {step.module!r}" if step.module in seen else f"{count_parameters(module):,}"
            seen.add(step.module)
            events = f"{step.action.events} of {'x'.join(map(str, step.action.event_shape))}"
            nodes.append((step.level, step.node, type(module).__name__, step.action.lattice, events, parameters))
    levels = [
        (f"z{h}", latent.lattice, math.prod(latent.lattice.event_shape), latent.node)
        for h, latent in enumerate(plan.latents)
    ]
    total = sum(count_parameters(module) for module in bijectors.values())
    return "\n\n".join(
        [
            f"Flow on {plan.input}, {prior} prior: "
            f"{total:,} parameters, {math.prod(plan.input.event_shape):,} variables",
            table(["level", "node", "bijector", "lattice", "events", "parameters"], nodes),
            table(["latents", "lattice", "variables", "leave at"], levels),
        ]
    )
