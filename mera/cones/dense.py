"""The causal cones of all sites of a plan, many in one pass, as rows of truth values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from mera.cones.indexing import spread
from mera.graph.actions import Apply
from mera.graph.executor import run_forward, run_inverse
from mera.graph.lattice import Lattice
from mera.graph.plan import Plan, Step

__all__ = ["all_generation_cones", "all_inference_cones"]

ROWS = 128
"""How many cones one pass finds: enough to hide what a pass costs, and few enough for short reports of progress."""


def all_inference_cones(plan: Plan) -> Iterator[Tensor]:
    """For each pixel, in order, the sites of the latents that can change with it.

    Args:
        plan: the plan.

    Yields:
        Some rows at a time, bool (rows, sites of all levels), finest level first.
    """
    for chosen in torch.arange(plan.input.sites).split(ROWS):
        levels, _ = run_forward(plan, _chosen(plan.input, chosen), _spread)
        yield torch.cat([level.amax(1).flatten(1) for level in levels], dim=1).bool()


def all_generation_cones(plan: Plan) -> Iterator[Tensor]:
    """For each site of the latents, finest level first, the pixels that can change with its latents.

    Args:
        plan: the plan.

    Yields:
        Some rows at a time, bool (rows, pixels).
    """
    for level, latent in enumerate(plan.latents):
        for chosen in torch.arange(latent.lattice.sites).split(ROWS):
            z = [torch.zeros(len(chosen), *other.lattice.event_shape, dtype=torch.uint8) for other in plan.latents]
            z[level] = _chosen(latent.lattice, chosen)
            x, _ = run_inverse(plan, z, _spread)
            yield x.amax(1).flatten(1).bool()


def _chosen(lattice: Lattice, sites: Tensor) -> Tensor:
    """For each site a row with ones in all of its channels, uint8 (sites, channels, *shape)."""
    rows = torch.zeros(len(sites), lattice.sites, dtype=torch.uint8)
    rows[torch.arange(len(sites)), sites] = 1
    return rows.view(-1, 1, *lattice.shape).repeat(1, lattice.channels, *[1] * lattice.dim)


def _spread(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
    """Mark the variables of each event that depend on a marked one; a transform for the executor."""
    action = cast(Apply, step.action)  # no other action has events
    if action.is_field:
        marked = torch.zeros(len(events), action.lattice.variables, dtype=torch.uint8)
        sites_first = events.movedim(1, -1).flatten(1)
        for row, event in zip(marked, sites_first, strict=True):
            row[spread(action, event.nonzero().flatten())] = 1
        changed = marked.view(-1, *action.lattice.shape, action.lattice.channels).movedim(-1, 1)
    else:
        reached = events.flatten(1).amax(1).view(-1, *[1] * (events.ndim - 1)).expand_as(events)
        changed = torch.cat([events[:, : action.passive], reached[:, action.passive :]], dim=1)
    return changed, torch.zeros(len(events))
