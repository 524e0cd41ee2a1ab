"""Starting points of the search and the chains of an inpainting: random fillings that compete, coarse levels first."""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.cones import Restriction
from mera.inpaint.latent_space import LatentSpace
from mera.sampling.annealing import largest_change

CHUNK = 64
"""The number of fillings that are evaluated together."""
CHANGED = 0.5
"""The fraction of a level's variables that is drawn anew in a sweep; the first sweep draws all of them."""
SURVIVORS = 0.25
"""The effective sample size of a group's weights, as a fraction of the group, which determines the temperature."""


@torch.no_grad()
def populate(local: Restriction, space: LatentSpace, groups: int, size: int, sweeps: int) -> Tensor:
    r"""Draw groups of random fillings that compete, and return the likeliest of each group, (groups, coordinates).

    In a sweep, each level of latents in turn, the coarsest first, is drawn anew in all fillings. The old and the new
    fillings of a group then compete: their successors are drawn with weights :math:`p^\beta`, with the
    :math:`\beta \le 1` at which the effective sample size is a quarter of the group. Groups do not mix, so that their
    fillings stay different.

    Args:
        local: the restriction of the flow to the masked pixels.
        space: the latents that are varied.
        groups: the number of groups; results are sorted by log p, the likeliest group first.
        size: the number of fillings in a group.
        sweeps: the number of sweeps; with 0, the likeliest of all random fillings are returned.

    Raises:
        ValueError: if no filling has a finite log-density.
    """
    values = space.draw(groups * size)
    log_prob = _log_prob(local, space, values)
    if log_prob.max() == -torch.inf:
        raise InputError("a random filling of finite density", f"none in {len(values)} draws")
    if sweeps == 0:
        return values[log_prob.topk(groups).indices]
    for sweep in range(sweeps):
        for level in space.levels.unique(sorted=True).flip(0):
            is_new = (space.levels == level).expand_as(values)
            if sweep:
                is_new = is_new & (torch.rand(values.shape, device=values.device) < CHANGED)
            changed = torch.where(is_new, space.draw(len(values)), values)
            fillings = torch.stack([values, changed]).unflatten(1, (groups, size)).transpose(0, 1)
            scores = torch.stack([log_prob, _log_prob(local, space, changed)]).unflatten(1, (groups, size))
            values, log_prob = _compete(fillings.flatten(1, 2), scores.transpose(0, 1).flatten(1, 2), size)
    best = log_prob.unflatten(0, (groups, size)).max(1)
    top = values.unflatten(0, (groups, size))[torch.arange(groups, device=values.device), best.indices]
    return top[best.values.argsort(descending=True)]


def _log_prob(local: Restriction, space: LatentSpace, values: Tensor) -> Tensor:
    """Log p of fillings, with NaN replaced by -inf."""
    log_prob = torch.cat([local.log_prob(space.decode(part)) for part in values.split(CHUNK)])
    return torch.where(log_prob.isnan(), -torch.inf, log_prob)


def _compete(values: Tensor, log_prob: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Draw `size` successors from the fillings (groups, n, coordinates) of each group: (groups * size, coordinates)."""
    is_impossible = (log_prob == -torch.inf).all(1, keepdim=True)
    scores = torch.where(is_impossible, 0, log_prob)  # without a finite log p in a group, all weights are equal
    beta = largest_change(scores, 1.0, max(1.0, SURVIVORS * size))[:, None]
    parents = torch.multinomial(torch.softmax(beta * scores, 1), size, replacement=True)
    successors = values.gather(1, parents[..., None].expand(-1, -1, values.shape[2]))
    return successors.flatten(0, 1), log_prob.gather(1, parents).flatten()
