"""The causal cones of all sites of a plan, many in one pass, as rows of truth values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import cast

import torch
from torch import Tensor

from mera.cones.indexing import spread
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step
from mera.run.executor import Transform, run_forward, run_inverse

ROWS = 128
"""How many cones one pass finds: enough to hide what a pass costs, and few enough for short reports of progress."""


def all_inference_cones(plan: Plan) -> Iterator[Tensor]:
    """For each pixel, in order, the sites of the latents that can change with it.

    Args:
        plan: the plan.

    Yields:
        Some rows at a time, bool (rows, sites of all levels), finest level first.
    """
    spread_events = _spreading()
    for chosen in torch.arange(plan.input.sites).split(ROWS):
        levels, _ = run_forward(plan, _chosen(plan.input, chosen), spread_events)
        yield torch.cat([level.amax(1).flatten(1) for level in levels], dim=1).bool()


def all_generation_cones(plan: Plan) -> Iterator[Tensor]:
    """For each site of the latents, finest level first, the pixels that can change with its latents.

    Args:
        plan: the plan.

    Yields:
        Some rows at a time, bool (rows, pixels).
    """
    spread_events = _spreading()
    for level, latent in enumerate(plan.latents):
        for chosen in torch.arange(latent.lattice.sites).split(ROWS):
            z = [torch.zeros(len(chosen), *other.lattice.event_shape, dtype=torch.uint8) for other in plan.latents]
            z[level] = _chosen(latent.lattice, chosen)
            x, _ = run_inverse(plan, z, spread_events)
            yield x.amax(1).flatten(1).bool()


def _chosen(lattice: Lattice, sites: Tensor) -> Tensor:
    """For each site a row with ones in all of its channels, uint8 (sites, channels, *shape)."""
    rows = torch.zeros(len(sites), lattice.sites, dtype=torch.uint8)
    rows[torch.arange(len(sites)), sites] = 1
    return rows.view(-1, 1, *lattice.shape).repeat(1, lattice.channels, *[1] * lattice.dim)


def _spreading() -> Transform:
    """A transform for the executor that marks the variables of each event that depend on a marked one."""
    neighbours = cache(_neighbours)

    def spread_events(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        operation = cast(Apply, step.operation)  # no other operation has events
        marked = events.flatten(2).amax(1)  # (n, sites)
        if operation.is_field:
            reached = (marked.float() @ neighbours(operation) > 0).to(events.dtype)
        else:
            reached = marked.amax(1, keepdim=True).expand_as(marked)
        changed = reached.view(len(events), 1, *events.shape[2:]).expand_as(events)
        return torch.cat([events[:, : operation.passive], changed[:, operation.passive :]], dim=1), torch.zeros(
            len(events)
        )

    return spread_events


def _neighbours(operation: Apply) -> Tensor:
    """For each site of the lattice of a field, a row with ones at the sites that depend on it, (sites, sites).

    A field bijector has one event, the whole lattice, so that each site has a row. The last channel of a site stands
    for all, since those before it may be passive.
    """
    channels = operation.lattice.channels
    rows = torch.zeros(operation.lattice.sites, operation.lattice.sites)
    for site, row in enumerate(rows):
        row[spread(operation, torch.tensor([(site + 1) * channels - 1])) // channels] = 1
    return rows
