"""A flow as a table: levels, nodes, parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from mera.graph import Apply
from mera.table import table

if TYPE_CHECKING:
    from mera.flow import Flow

__all__ = ["count_parameters", "summarize"]


def count_parameters(module: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def summarize(flow: Flow) -> str:
    """Two tables, the nodes with their bijectors and the levels with their latents, and the totals."""
    seen: set[str] = set()
    nodes = []
    for step in flow.plan.steps:
        if isinstance(step.action, Apply):
            module = flow.bijectors[step.module]
            shared = step.module in seen
            seen.add(step.module)
            parameters = f"shared with {step.module!r}" if shared else f"{count_parameters(module):,}"
            events = f"{step.action.events} of {'x'.join(map(str, step.action.event_shape))}"
            nodes.append((step.level, step.node, type(module).__name__, step.action.lattice, events, parameters))
    levels = [
        (f"z{h}", latent.lattice, math.prod(latent.lattice.event_shape), latent.node)
        for h, latent in enumerate(flow.plan.latents)
    ]
    total = f"{count_parameters(flow):,} parameters, {math.prod(flow.plan.input.event_shape):,} variables"
    return "\n\n".join(
        [
            f"Flow on {flow.plan.input}, {flow.prior.extra_repr()} prior: {total}",
            table(["level", "node", "bijector", "lattice", "events", "parameters"], nodes),
            table(["latents", "lattice", "variables", "leave at"], levels),
        ]
    )
