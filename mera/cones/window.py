"""Windows of generated images, computed from the latents in their cones; the image may be too large for memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.bijectors.prior import temperature_per_level
from mera.cones.cone import CPU
from mera.cones.noise import noise_of_latents
from mera.cones.regions import Span, rectangle, spans_of
from mera.cones.subplan import Subplan
from mera.graph.indexing import check_indexable, indices_at
from mera.graph.runner import Runner

GROUP_WIDTH = {1: 64, 2: 8, 3: 4}
"""The edge of the groups of events that are transformed in one call, by the number of dimensions. Rounding depends on
the batch, so every window that touches a group computes the whole group in one call, and all windows agree bit for bit;
those of local field bijectors, which are evaluated on boxes, agree up to rounding.
"""
MAX_FIELD_SITES = 2**20
"""The number of sites of the largest lattice on which a field bijector, which needs the whole lattice, is evaluated."""


@torch.no_grad()
def window(runner: Runner, seed: int, region: Sequence[Span], temperature: float | Sequence[float] = 1.0) -> Tensor:
    """Generate a window of the image of a seed; see `Flow.window`."""
    plan, like = runner.plan, runner.reference
    if plan.context is not None:
        raise InputError("a flow without context for windows", f"one with {plan.context}")
    spans = spans_of(region, plan.input)
    if not is_integer(seed) or not 0 <= seed < 2**64:
        raise InputError("a seed from 0 to 2^64 - 1", repr(seed))
    temperatures = temperature_per_level(temperature, len(plan.latents))
    check_indexable(plan.input)
    for step in plan.bijections:
        lattice = step.apply.lattice
        if step.apply.is_field and lattice.sites > MAX_FIELD_SITES and not runner.is_local(step):
            expected = "a bijector of patches, or a local one, for windows of so large a lattice"
            got = f"a field bijector, which needs all of {lattice}"
            raise InputError(expected, got, where=f"node {step.node!r}")
    with CPU:
        indices, width = indices_at(rectangle(spans, plan.input), plan.input).flatten(), GROUP_WIDTH[plan.input.dim]
        subplan = Subplan(plan, indices, runner.is_local, like.device, width)
        noise = [
            noise_of_latents(runner.prior, temperatures[h], seed, h, latent.lattice, level.sites)
            for h, (latent, level) in enumerate(zip(plan.latents, subplan.levels, strict=True))
        ]

    row = subplan.inverse([values.flatten()[None].to(like) for values in noise], runner, lambda step: None)
    return row.view(1, plan.input.channels, *(stop - start for start, stop in spans))
