"""Causal cones (paper, Fig. 2c, d): which variables can change when some others do, from the steps of a plan alone.

Inference runs from pixels to latents, generation from latents to pixels. A cone is exact: for bijectors each of whose
outputs depends on all that its node says it reads, the Jacobian is non-zero inside the cone and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mera._utils.table import table
from mera.cones.indexing import check_numbered, event_tiling, mask_of, rearranged, restored, spread
from mera.graph.actions import Apply
from mera.graph.plan import Plan

__all__ = ["Cone", "generation_cone", "inference_cone"]

NOTHING = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Cone:
    """What can change in a plan, value by value.

    Args:
        plan: the plan.
        reached: for the number of each value, the variables of it that can change, by number (see
            `mera.graph.addresses`) and sorted.
    """

    plan: Plan
    reached: Mapping[int, Tensor]

    @cached_property
    def levels(self) -> tuple[Tensor, ...]:
        """For each level of latents, finest first, whether those at a site can change: bool, (H_h, W_h).

        These are whole masks: for a small region of a huge lattice, `sites` is what stays small.
        """
        return tuple(
            mask_of(sites, latent.lattice) for sites, latent in zip(self.sites, self.plan.latents, strict=True)
        )

    @cached_property
    def sites(self) -> tuple[Tensor, ...]:
        """For each level of latents, the sites at which a latent can change, counted row by row."""
        return tuple((self.reached[v.value] // v.lattice.channels).unique() for v in self.plan.latents)

    @cached_property
    def pixels(self) -> Tensor:
        """Whether a pixel can change: bool, (H, W)."""
        return mask_of((self.reached[0] // self.plan.input.channels).unique(), self.plan.input)

    @property
    def counts(self) -> tuple[int, ...]:
        """Latent variables that can change at each level, channels counted."""
        return tuple(len(self.reached[latent.value]) for latent in self.plan.latents)

    @property
    def count(self) -> int:
        """Latent variables that can change, channels counted."""
        return sum(self.counts)

    @property
    def fraction(self) -> float:
        """Their part of all latent variables."""
        return self.count / self.plan.input.variables

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """For each step that applies a bijector, in order, how many of its events, or blocks, hold what can change."""
        return tuple(
            len(_touched(step.action, self.reached[step.source]))
            for step in self.plan.steps
            if isinstance(step.action, Apply)
        )

    def __repr__(self) -> str:
        rows = []
        for h, (latent, count, sites) in enumerate(zip(self.plan.latents, self.counts, self.sites, strict=True)):
            total = latent.lattice.variables
            rows.append((f"z{h}", latent.lattice, len(sites), f"{count:,}", f"{total:,}", f"{count / total:.3g}"))
        blocks = sum(step.action.events for step in self.plan.steps if isinstance(step.action, Apply))
        return (
            f"{table(['latents', 'lattice', 'sites', 'in the cone', 'of', 'fraction'], rows)}\n"
            f"{self.count:,} of {self.plan.input.variables:,} latent variables, a fraction of "
            f"{self.fraction:.3g}; {sum(self.blocks):,} of {blocks:,} blocks"
        )


def inference_cone(plan: Plan, numbers: Tensor) -> Cone:
    """What can change when these variables of the data do, all the way to the latents (paper, Fig. 2d).

    Time and memory grow with the patches that are touched, hence with log L for a small region.
    """
    check_numbered(plan.input)
    reached = {0: numbers.unique()}
    for step in plan.steps:
        before = reached[step.source]
        if isinstance(step.action, Apply):
            reached[step.targets[0]] = spread(step.action, before)
        else:
            for target, (_, there) in zip(step.targets, rearranged(step.action, before), strict=True):
                reached[target] = there.sort().values
    return Cone(plan, reached)


def generation_cone(plan: Plan, latents: Mapping[int, Tensor]) -> Cone:
    """What can change when these latents do, all the way to the data (paper, Fig. 2c).

    Args:
        plan: the plan.
        latents: level -> variables of that level.
    """
    check_numbered(plan.input)
    reached = {latent.value: latents.get(h, NOTHING).unique() for h, latent in enumerate(plan.latents)}
    for step in reversed(plan.steps):
        behind = [reached[target] for target in step.targets]
        if isinstance(step.action, Apply):
            reached[step.source] = spread(step.action, behind[0])
        else:
            reached[step.source] = restored(step.action, behind).sort().values
    return Cone(plan, reached)


def _touched(action: Apply, numbers: Tensor) -> Tensor:
    """The events that hold some of these variables."""
    positions, _, inside = event_tiling(action).locate(numbers)
    return positions[inside].unique()
