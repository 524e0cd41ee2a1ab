"""Any window of a generated image, from the latents in its cone: the image itself may be too large to hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from mera.bijectors import Bijector
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.cones.executor import LocalExecutor
from mera.cones.indexing import check_numbered, variables_at
from mera.cones.noise import noise
from mera.cones.regions import rectangle
from mera.cones.subplan import localize
from mera.graph import Apply, Plan, Step
from mera.priors import Prior

__all__ = ["window"]

WIDTH = {1: 64, 2: 8, 3: 4}
"""Events are transformed in groups of the grid, this many wide, by the number of dimensions: the rounding of a product
depends on what else is in the batch, and so every window that touches a group computes all of it, in one call, to the
same last bit."""
LARGEST_FIELD = 2**20
"""Sites of the largest lattice that a field bijector, which needs all of it, is given."""


def window(
    plan: Plan,
    bijector: Callable[[Step], Bijector],
    prior: Prior,
    seed: int,
    spans: Sequence[tuple[int, int]],
    temperatures: Sequence[float],
    like: Tensor,
) -> Tensor:
    """A window (1, C, *window) of the image that a seed stands for, with dtype and device of `like`.

    Args:
        plan, bijector, prior: of the flow.
        seed: from 0 to 2^64 - 1.
        spans: start and stop in each dimension, which the caller has checked.
        temperatures: one for each level.

    Raises:
        ValueError: if the lattice is too large to number its variables or for a field bijector in the plan, or the
            prior has no quantile function.
    """
    check_numbered(plan.input)
    for step in plan.steps:
        if isinstance(step.action, Apply) and step.action.is_field and step.action.lattice.sites > LARGEST_FIELD:
            raise ValueError(
                f"node {step.node!r}: Expected a bijector of patches for windows of so large a lattice; "
                f"got a field bijector, which needs all of {step.action.lattice}"
            )
    sites = rectangle(spans, plan.input)
    pieces = localize(plan, variables_at(sites, plan.input).flatten(), WIDTH[plan.input.dim])
    rows = [
        noise(prior, temperature, seed, h, latent.lattice, exit.sites).flatten()[None].to(like)
        for h, (latent, exit, temperature) in enumerate(zip(plan.latents, pieces.exits, temperatures, strict=True))
    ]
    with fixed_weights():
        row = LocalExecutor(pieces, like.device).inverse(rows, lambda step, events: bijector(step).inverse(events))
    return row.view(1, plan.input.channels, *(stop - start for start, stop in spans))
