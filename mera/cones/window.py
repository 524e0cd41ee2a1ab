"""Windows of generated images, computed from the latents in their cones; the image may be too large for memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.bijectors.prior import Prior, temperature_per_level
from mera.cones.cone import CPU
from mera.cones.regions import Span, rectangle, spans_of
from mera.cones.subplan import Subplan
from mera.executor.plan_module import PlanModule
from mera.graph import Lattice
from mera.graph.indexing import Tiling, indices_at

NOISE_BLOCK = {1: 256, 2: 16, 3: 8}
"""The edge of the blocks of latents that are drawn together, by the number of dimensions."""
MAX_FIELD_SITES = 2**20
"""The number of sites of the largest lattice on which a field bijector, which needs the whole lattice, is evaluated."""


@torch.no_grad()
def window(flow: PlanModule, seed: int, region: Sequence[Span], temperature: float | Sequence[float] = 1.0) -> Tensor:
    """Generate a window of the image of a seed; see `Flow.window`."""
    plan, like = flow.plan, flow.reference
    if flow.context_encoder.needs_context:
        raise InputError("a flow without context for windows, such as flow.given(context)", f"one of {plan.context}")
    spans = spans_of(region, plan.input)
    if not is_integer(seed) or not 0 <= seed < 2**64:
        raise InputError("a seed from 0 to 2^64 - 1", repr(seed))
    temperatures = temperature_per_level(temperature, len(plan.latents))
    for step in plan.bijections:
        lattice = step.apply.lattice
        if step.apply.is_field and lattice.sites > MAX_FIELD_SITES and not flow.is_local(step):
            expected = "a bijector of patches, or a local one, for windows of so large a lattice"
            got = f"a field bijector, which needs all of {lattice}"
            raise InputError(expected, got, where=f"node {step.node!r}")
    with CPU:
        indices = indices_at(rectangle(spans, plan.input), plan.input).flatten()
        subplan = Subplan(plan, indices, flow.is_local, like.device)
        noise = [
            noise_of_latents(flow.prior, temperatures[h], seed, h, latent.lattice, level.sites)
            for h, (latent, level) in enumerate(zip(plan.latents, subplan.levels, strict=True))
        ]

    latents = [values.flatten()[None].to(like) for values in noise]
    row = subplan.inverse(latents, flow, subplan.contexts(flow, None).__getitem__)
    return row.view(1, plan.input.channels, *(stop - start for start, stop in spans))


def noise_of_latents(
    prior: Prior, temperature: float, seed: int, level: int, lattice: Lattice, sites: Tensor
) -> Tensor:
    """Draw the latents at sites (n,) of a level from the prior: (C, n), in double precision on the CPU.

    They are a function of seed and site, so that any part of a lattice can be drawn by itself. Philox (Salmon et al.
    2011) computes random bits from a counter; numpy guarantees the same stream in all versions. Each counter belongs to
    a block of sites, not to one site: the quantile function is always evaluated on whole blocks, so that the noise is
    the same to the last bit whichever sites of a block are needed.
    """
    edge = NOISE_BLOCK[lattice.dim]
    counts = tuple(-(-n // edge) for n in lattice.shape)
    tiling = Tiling(lattice, (edge,) * lattice.dim, (0,) * lattice.dim, counts)
    blocks, within, _ = tiling.locate(indices_at(sites, lattice).flatten())
    values = torch.empty(len(blocks), dtype=torch.float64)
    quantile = prior.quantile(temperature)
    order = blocks.argsort()
    numbers, sizes = blocks[order].unique_consecutive(return_counts=True)
    for block, members in zip(numbers.tolist(), order.split(sizes.tolist()), strict=True):
        values[members] = quantile(_uniform(seed, level, block, tiling.variables))[within[members]]
    return values.view(lattice.channels, -1)


def _uniform(seed: int, level: int, block: int, n: int) -> Tensor:
    """Draw n numbers strictly between 0 and 1: odd multiples of 2^-53, which doubles hold exactly."""
    key = np.array([seed, level], dtype=np.uint64)
    counter = np.array([0, block, 0, 0], dtype=np.uint64)  # the lowest word counts within the block
    bits = np.random.Philox(key=key, counter=counter).random_raw(n)
    return torch.from_numpy(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * math.ldexp(1, -52))
