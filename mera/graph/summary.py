"""The description of a flow: tables of its nodes and levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from mera._utils.table import Table, html
from mera.bijectors import Chain, Named
from mera.graph.layout import Layout
from mera.graph.plan import Plan


def count_parameters(module: nn.Module) -> int:
    """The number of learnable parameters of a module, counted as scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@dataclass(frozen=True, repr=False)
class Summary:
    """The description of a flow, printed as text or HTML.

    Args:
        title: the lattice, the prior, and the numbers of parameters and variables.
        nodes: a row for each node that applies a bijector.
        levels: a row for each level of latents.
    """

    title: str
    nodes: Table
    levels: Table

    def __repr__(self) -> str:
        """The description as text."""
        return f"{self.title}\n\n{self.nodes}\n\n{self.levels}"

    def _repr_html_(self) -> str:
        """The description as HTML, for notebooks."""
        return html(self.title, self.nodes, self.levels)


def summarize(plan: Plan, layout: Layout, bijectors: Mapping[str, nn.Module], prior: str, total: int) -> Summary:
    """Describe a flow: the number of parameters, a table of the nodes, and a table of the levels of latents."""
    seen: set[str] = set()
    nodes = []
    for step in plan.bijections:
        module = bijectors[step.module]
        parameters = f"shared with {step.module!r}" if step.module in seen else f"{count_parameters(module):,}"
        seen.add(step.module)
        events = f"{step.apply.events} of {'x'.join(map(str, step.apply.event_shape))}"
        bijector = _name(layout.graph.nodes[step.node]["node"].bijector, module)
        nodes.append((step.level, step.node, bijector, step.apply.lattice, events, parameters))
    levels = [(f"z{h}", v.lattice, v.lattice.variables, v.node) for h, v in enumerate(plan.latents)]
    return Summary(
        f"Flow on {plan.input}, prior: {prior}; {total:,} parameters, {plan.input.variables:,} variables",
        Table(["level", "node", "bijector", "lattice", "events", "parameters"], nodes),
        Table(["latents", "lattice", "variables", "leave at"], levels),
    )


def _name(declared: object, module: nn.Module) -> str:
    """The name of a registered bijector, else its class, or the classes of the members of a chain."""
    if isinstance(declared, Named):
        return declared.name
    members = module.members if isinstance(module, Chain) else [module]
    return " + ".join(dict.fromkeys(type(member).__name__ for member in members))
