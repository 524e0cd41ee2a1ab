"""The search for the likeliest filling of masked pixels: latents that vary, fillings that compete, and Adam.

RG-Flow, App. D, https://arxiv.org/abs/2010.00029
"""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar
from mera.cones import Restriction
from mera.inpaint.posterior import SURVIVORS, LogProbInThreads, Stop
from mera.sampling.annealing import largest_change

CHUNK = 64
"""The number of fillings that are evaluated together."""
CHANGED = 0.5
"""The fraction of a level's variables that is drawn anew in a sweep; the first sweep draws all of them."""


class LatentSpace:
    """Latents in the inference cone of the masked pixels.

    Latents that are not varied are those of a filling, masked pixels (1, C, n). A `count` of latents is chosen among
    all latents of the flow at random; chosen latents outside of the cone do not have a coordinate, since masked pixels
    do not depend on them.

    Attributes:
        size: the number of varied variables; latents outside of the cone count.
        levels: the level of each coordinate, 0 for the finest.
    """

    def __init__(self, local: Restriction, filling: Tensor, count: int | None = None) -> None:
        self.local = local
        self.base = self._row(filling)
        indices = local.in_cone.nonzero()[:, 0]
        self.size = len(indices)
        if count is not None:
            draws = torch.randperm(local.cone.plan.input.variables)[:count]  # latents in the cone are numbered first
            indices, self.size = indices[draws[draws < len(indices)]], count
        self.chosen = indices.to(self.base.device)
        sizes = torch.tensor([channels * n for channels, n in local.latent_shapes])
        self.levels = torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(self.base.device)[self.chosen]

    def latents(self, pixels: Tensor) -> Tensor:
        """The coordinates (K, coordinates) of fillings (K, C, n)."""
        return self._row(pixels)[:, self.chosen]

    def _row(self, pixels: Tensor) -> Tensor:
        """All latents in the cone as rows, from fillings (K, C, n)."""
        return torch.cat([level.flatten(1) for level in self.local.encode(pixels)], dim=1)

    def draw(self, n: int) -> Tensor:
        """Draw latents from the prior, (n, coordinates)."""
        return self.local.prior.sample([(n, len(self.chosen))], [1.0], self.base)[0]

    def decode(self, values: Tensor) -> Tensor:
        """Generate masked pixels (K, C, n) with the flow, from coordinates (K, coordinates)."""
        row = self.base.expand(values.shape[0], -1).index_copy(1, self.chosen, values)
        shapes = self.local.latent_shapes
        levels = row.split([channels * n for channels, n in shapes], dim=1)
        return self.local.decode([level.unflatten(1, shape) for level, shape in zip(levels, shapes, strict=True)])


@torch.no_grad()
def latent_space(local: Restriction, latents: str | int, filling: Tensor | None = None) -> LatentSpace:
    """The latents of a search, "cone", "all" or a number; others are those of a filling, by default of noise."""
    variables = local.cone.plan.input.variables
    count = {"cone": None, "all": variables}[latents] if isinstance(latents, str) else latents
    if count is not None and not (is_integer(count) and 1 <= count <= variables):
        raise InputError(f"1 to {variables} latents to vary", repr(latents))
    if filling is not None:
        return LatentSpace(local, filling, count)
    seen = local.image[:, :, ~local.hidden]
    noise = torch.randn(1, *local.pixels.shape[1:], dtype=seen.dtype, device=seen.device)
    filling = seen.mean(2, keepdim=True) + seen.std(2, keepdim=True, correction=0) * noise
    return LatentSpace(local, filling, count)


@torch.no_grad()
def populate(local: Restriction, space: LatentSpace, groups: int, size: int, sweeps: int) -> Tensor:
    r"""Draw groups of random fillings that compete, and return the likeliest of each group, (groups, coordinates).

    In a sweep, each level of latents in turn, the coarsest first, is drawn anew in all fillings. The old and the new
    fillings of a group then compete: their successors are drawn with weights :math:`p^\beta`, with the
    :math:`\beta \le 1` at which the effective sample size is a quarter of the group. Groups do not mix, so that their
    fillings stay different. The likeliest group is first; without sweeps, the likeliest of all fillings are returned.
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


def climb(
    local: Restriction, space: LatentSpace, start: Tensor, steps: int, lr: float, progress_bar: ProgressBar, stop: Stop
) -> tuple[Tensor, Tensor, Tensor]:
    """Maximise log p of filled images with Adam, from K starting points (K, coordinates), with a cosine schedule.

    Returns:
        For each starting point the masked pixels of the likeliest filling of any step, (K, C, n), and their log p (K,);
        and log p of the likeliest filling at each step, (steps + 1,).
    """
    values, best_values = start.clone().requires_grad_(), start
    optimizer = torch.optim.Adam([values], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    best, history = torch.full_like(start[:, 0], -torch.inf), []
    with stop:
        for step in range((0 if stop.requested else steps) + 1):
            log_prob = LogProbInThreads.apply(values, lambda part: local.log_prob(space.decode(part)))
            current = torch.where(log_prob.isnan(), -torch.inf, log_prob).detach()  # NaN ranks last
            better = current > best
            best = torch.where(better, current, best)
            best_values = torch.where(better[:, None], values.detach(), best_values)
            history.append(current.max())
            progress_bar.update(step, step / max(steps, 1), f"log p {best.max():.1f}")
            if step < steps:
                (values.grad,) = torch.autograd.grad(-log_prob.sum(), values)
                optimizer.step()
                schedule.step()
    best = best if history else _log_prob(local, space, start)
    return space.decode(best_values).detach(), best, torch.stack(history or [best.max()])
