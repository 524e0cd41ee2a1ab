"""Causal cones: the variables that can change when other variables change, computed from the steps of a plan.

Inference cones run from pixels to latents, generation cones from latents to pixels (RG-Flow, Fig. 2c and d,
https://arxiv.org/abs/2010.00029). A cone is exact: if every output of a bijector depends on all sites of the node's
kernel, the Jacobian is non-zero inside the cone and zero outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from mera._utils.checks import check_type
from mera._utils.drawn import Drawn
from mera._utils.table import Table, Tabled, html
from mera.cones.regions import Region, Site, sites_of
from mera.executor.passes import StepFunction, run_forward, run_inverse
from mera.graph.indexing import indices_at, mask_from_sites
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step

ROWS = 128
"""The number of cones that are computed in one pass: large enough to be fast, small enough for frequent progress."""
CPU = torch.device("cpu")
"""The device on which indices are computed, whatever torch's default device is."""


@dataclass(frozen=True, eq=False, repr=False)
class Cone(Tabled, Drawn):
    """A causal cone: for each value of a plan, the variables that can change (RG-Flow, Fig. 2c and d).

    Args:
        plan: the plan.
        reached: from the number of each value to the sorted flat indices (see `mera.graph.indexing`) of its variables
            that can change.
    """

    plan: Plan
    reached: Mapping[int, Tensor]

    @cached_property
    def levels(self) -> tuple[Tensor, ...]:
        """Bool masks (H_h, W_h), one for each level of latents, finest first, true where latents can change.

        The masks cover whole lattices. For a small cone in a huge lattice, use `sites`.
        """
        levels = zip(self.sites, self.plan.latents, strict=True)
        return tuple(mask_from_sites(sites, latent.lattice) for sites, latent in levels)

    @cached_property
    def sites(self) -> tuple[Tensor, ...]:
        """For each level of latents, finest first, the sorted flat indices of the sites where latents can change."""
        return tuple((self.reached[v.value] // v.lattice.channels).unique() for v in self.plan.latents)

    @cached_property
    def pixels(self) -> Tensor:
        """A bool mask (H, W) of the pixels that can change."""
        return mask_from_sites((self.reached[0] // self.plan.input.channels).unique(), self.plan.input)

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of latent variables that can change at each level, finest first; all channels are counted."""
        return tuple(len(self.reached[latent.value]) for latent in self.plan.latents)

    @property
    def count(self) -> int:
        """The number of latent variables that can change; all channels are counted."""
        return sum(self.counts)

    @property
    def fraction(self) -> float:
        """The fraction of all latent variables that can change."""
        return self.count / self.plan.input.variables

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """For each step that applies a bijector, in order, the number of events with variables that can change."""
        located = (step.apply.event_tiling.locate(self.reached[step.source]) for step in self.plan.bijections)
        return tuple(len(positions[is_covered].unique()) for positions, _, is_covered in located)

    @property
    def table(self) -> Table:
        """A table of how many latents of each level can change."""
        rows = []
        for h, (latent, count) in enumerate(zip(self.plan.latents, self.counts, strict=True)):
            total, sites = latent.lattice.variables, f"{len(self.sites[h]):,}"
            rows.append((f"z{h}", latent.lattice, sites, f"{count:,}", f"{total:,}", f"{count / total:.3g}"))
        return Table(["latents", "lattice", "sites", "in the cone", "of", "fraction"], rows)

    @property
    def legend(self) -> str:
        """The caption below the table, with the numbers of latents and blocks in the whole cone."""
        blocks = sum(step.apply.events for step in self.plan.bijections)
        return (
            f"{self.count:,} of {self.plan.input.variables:,} latent variables, a fraction of "
            f"{self.fraction:.3g}; {sum(self.blocks):,} of {blocks:,} blocks"
        )

    def _repr_html_(self) -> str:
        """The table of the levels and a picture as HTML, for notebooks."""
        return html(self.table, self.legend, self._repr_png_())


def inference_cone(plan: Plan, region: Region) -> Cone:
    """The cone of pixels: all values, up to the latents, that can change when the pixels change (RG-Flow, Fig. 2d).

    Time and memory grow with the number of patches in the cone, hence with log L for a small region; see `Region`.
    """
    check_type(plan, Plan, "a Plan, such as flow.plan")
    with CPU:
        return cone_of_data(plan, indices_at(sites_of(region, plan.input), plan.input).flatten())


def generation_cone(plan: Plan, level: int, site: Site) -> Cone:
    """The cone of latents: all values, down to the data, that can change with the latents at a site (RG-Flow, Fig. 2c).

    `site` has coordinates in the lattice of the level, or is a bool mask, or spans, of several sites.
    """
    lattice = check_type(plan, Plan, "a Plan, such as flow.plan").latents[plan.check_level(level)].lattice
    with CPU:
        return cone_of_latents(plan, {level: indices_at(sites_of(site, lattice), lattice).flatten()})


def cone_of_data(plan: Plan, indices: Tensor) -> Cone:
    """The cone of variables of the data with flat indices (n,), in any order."""
    reached = {0: indices.unique()}
    for step in plan.steps:
        reached.update(zip(step.targets, step.operation.reached(reached[step.source]), strict=True))
    return Cone(plan, reached)


def cone_of_latents(plan: Plan, indices: Mapping[int, Tensor]) -> Cone:
    """The cone of latents: `indices` maps a level, 0 for the finest, to flat indices (n,), in any order.

    The latents of levels that are left out do not change.
    """
    none = torch.empty(0, dtype=torch.int64, device="cpu")
    reached = {latent.value: indices.get(level, none).unique() for level, latent in enumerate(plan.latents)}
    for step in reversed(plan.steps):
        reached[step.source] = step.operation.reached_back([reached[target] for target in step.targets])
    return Cone(plan, reached)


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
