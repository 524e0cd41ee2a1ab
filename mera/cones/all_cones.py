"""The causal cones of all sites of a plan, many in one pass, as rows of bools."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from mera.executor.passes import StepFunction, run_forward, run_inverse
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step

ROWS = 128
"""The number of cones that are computed in one pass: large enough to be fast, small enough for frequent progress."""


def all_inference_cones(plan: Plan) -> Iterator[Tensor]:
    """For each pixel, in order, the sites of the latents that can change with the pixel.

    Yields:
        Up to `ROWS` rows at a time, bool (rows, sites of all levels), finest level first.
    """
    spread_events = _spreading()
    for sites in torch.arange(plan.input.sites).split(ROWS):
        levels, _ = run_forward(plan, _marked(plan.input, sites), spread_events)
        yield torch.cat([level.amax(1).flatten(1) for level in levels], dim=1).bool()


def all_generation_cones(plan: Plan) -> Iterator[Tensor]:
    """For each site of the latents, finest level first, the pixels that can change with the latents at the site.

    Yields:
        Up to `ROWS` rows at a time, bool (rows, pixels).
    """
    spread_events = _spreading()
    for level, latent in enumerate(plan.latents):
        for sites in torch.arange(latent.lattice.sites).split(ROWS):
            z = [torch.zeros(len(sites), *other.lattice.event_shape, dtype=torch.uint8) for other in plan.latents]
            z[level] = _marked(latent.lattice, sites)
            x, _ = run_inverse(plan, z, spread_events)
            yield x.amax(1).flatten(1).bool()


def _marked(lattice: Lattice, sites: Tensor) -> Tensor:
    """For each site a row with ones in all channels of the site, uint8 (sites, channels, *shape)."""
    rows = torch.zeros(len(sites), lattice.sites, dtype=torch.uint8)
    rows[torch.arange(len(sites)), sites] = 1
    return rows.view(-1, 1, *lattice.shape).repeat(1, lattice.channels, *[1] * lattice.dim)


def _spreading() -> StepFunction:
    """A function of a step that marks the variables of each event that depend on a marked variable."""
    neighbours = cache(_neighbours)

    def spread_events(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        operation = step.apply
        marked = events.flatten(2).amax(1)  # (n, sites)
        if operation.is_field:
            reached = (marked.float() @ neighbours(operation) > 0).to(events.dtype)
        else:
            reached = marked.amax(1, keepdim=True).expand_as(marked)
        changed = reached.view(len(events), 1, *events.shape[2:]).expand_as(events)
        passive, active = events[:, : operation.passive], changed[:, operation.passive :]
        return torch.cat([passive, active], dim=1), torch.zeros(len(events))

    return spread_events


def _neighbours(operation: Apply) -> Tensor:
    """For a field bijector, a matrix (sites, sites) with 1 where the site of the column depends on the site of the row.

    The last channel of each site is used for the relation, since the channels before it may be passive.
    """
    channels = operation.lattice.channels
    rows = torch.zeros(operation.lattice.sites, operation.lattice.sites)
    for site, row in enumerate(rows):
        row[operation.reached(torch.tensor([(site + 1) * channels - 1]))[0] // channels] = 1
    return rows
