"""The search for the likeliest filling of masked pixels: latents that vary, fillings that compete, and Adam.

RG-Flow, App. D, https://arxiv.org/abs/2010.00029
"""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar
from mera.cones import Restriction
from mera.inpaint.posterior import SURVIVORS, LogProbInThreads, Stop
from mera.sampling.annealing import largest_change
from mera.sampling.hamiltonian import LogProb

CHUNK = 64
"""The number of fillings that are evaluated together."""
CHANGED = 0.5
"""The fraction of a level's variables that is drawn anew in a sweep; the first sweep draws all of them."""


class LatentSpace:
    """Latents in the inference cone of the masked pixels.

    Args:
        local: the restriction to the masked pixels.
        latents: the number of latents that are varied, chosen among all latents of the flow at random; None for all in
            the cone. Those outside of the cone do not have a coordinate, since masked pixels do not depend on them.
            The others in the cone are those of noise in the masked pixels.

    Attributes:
        size: the number of varied variables; latents outside of the cone count.
        levels: the level of each coordinate, 0 for the finest.
    """

    @torch.no_grad()
    def __init__(self, local: Restriction, latents: int | None = None) -> None:
        self.local, variables = local, local.cone.plan.input.variables
        seen = local.image[:, :, ~local.hidden]
        noise = torch.randn(1, *local.pixels.shape[1:], dtype=seen.dtype, device=seen.device)
        filling = seen.mean(2, keepdim=True) + seen.std(2, keepdim=True, correction=0) * noise
        self.base = torch.cat([level.flatten(1) for level in local.encode(filling)], dim=1)
        indices = local.in_cone.nonzero()[:, 0]
        self.size = len(indices)
        if latents is not None:
            self.size = check_count(latents, "the number of latents", 1, variables)
            draws = torch.randperm(variables)[: self.size]  # the first numbers are the latents in the cone
            indices = indices[draws[draws < len(indices)]]
            if not len(indices):
                raise InputError("latents of which one can change the masked pixels", f"{latents} others: vary more")
        self.chosen = indices.to(self.base.device)
        sizes = torch.tensor([channels * n for channels, n in local.latent_shapes])
        self.levels = torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(self.base.device)[self.chosen]

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
def populate(space: LatentSpace, groups: int, size: int, sweeps: int, progress_bar: ProgressBar) -> Tensor:
    r"""Draw groups of random fillings that compete, and return the likeliest of each group, (groups, coordinates).

    In a sweep, each level of latents in turn, the coarsest first, is drawn anew in all fillings. The old and the new
    fillings of a group then compete: their successors are drawn with weights :math:`p^\beta`, with the
    :math:`\beta \le 1` at which the effective sample size is a quarter of the group. Groups do not mix, so that their
    fillings stay different. The likeliest group is first; without sweeps, the likeliest of all fillings are returned.
    """
    values = space.draw(groups * size)
    log_prob = _log_prob(space, values)
    if log_prob.max() == torch.finfo(log_prob.dtype).min:
        raise InputError("a random filling of finite density", f"none in {len(values)} draws")
    if sweeps == 0:
        return values[log_prob.topk(groups).indices]
    levels = space.levels.unique(sorted=True).flip(0)
    first = 2 * size * torch.arange(groups, device=values.device)[:, None]  # among old and new fillings of all groups
    for step in range(sweeps * len(levels)):
        is_new = (space.levels == levels[step % len(levels)]).expand_as(values)
        if step >= len(levels):
            is_new = is_new & (torch.rand(values.shape, device=values.device) < CHANGED)
        changed = torch.where(is_new, space.draw(len(values)), values)
        fillings = torch.cat([part.unflatten(0, (groups, size)) for part in (values, changed)], 1)
        scores = torch.cat([part.view(groups, size) for part in (log_prob, _log_prob(space, changed))], 1)
        beta = largest_change(scores, 1.0, max(1.0, SURVIVORS * size))[:, None]
        parents = (first + torch.multinomial((beta * scores).softmax(1), size, replacement=True)).flatten()
        values, log_prob = fillings.flatten(0, 1)[parents], scores.flatten()[parents]
        note = f"log p {log_prob.max():.1f}"
        progress_bar.update(step + 1, (step + 1) / (sweeps * len(levels)), note)
    best = log_prob.view(groups, size).max(1)
    top = values.unflatten(0, (groups, size))[torch.arange(groups, device=values.device), best.indices]
    return top[best.values.argsort(descending=True)]


def _log_prob(space: LatentSpace, values: Tensor) -> Tensor:
    """Log p of fillings, finite: the lowest number for a density of 0 and for NaN."""
    log_prob = torch.cat([space.local.log_prob(space.decode(part)) for part in values.split(CHUNK)])
    return log_prob.nan_to_num(nan=torch.finfo(log_prob.dtype).min)


def climb(
    log_prob: LogProb, start: Tensor, steps: int, lr: float, progress_bar: ProgressBar, stop: Stop
) -> tuple[Tensor, Tensor, Tensor]:
    """Maximise a log-density with Adam, from K starting points (K, coordinates), with a cosine schedule.

    Returns:
        For each starting point the best coordinates of any step, (K, coordinates), and their log-density (K,); and the
        largest log-density at each step, (steps + 1,).
    """
    values, best_values = start.clone().requires_grad_(), start
    optimizer = torch.optim.Adam([values], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    best, history = torch.full_like(start[:, 0], -torch.inf), []
    with stop:
        for step in range(steps + 1):
            found = LogProbInThreads.apply(values, log_prob)
            current = torch.where(found.isnan(), -torch.inf, found).detach()  # NaN ranks last
            better = current > best
            best = torch.where(better, current, best)
            best_values = torch.where(better[:, None], values.detach(), best_values)
            history.append(current.max())
            progress_bar.update(step, step / max(steps, 1), f"log p {best.max():.1f}")
            if step < steps:
                (values.grad,) = torch.autograd.grad(-found.sum(), values)
                optimizer.step()
                schedule.step()
    return best_values, best, torch.stack(history or [best.max()])


def ascend(
    log_prob: LogProb, start: Tensor, steps: int, progress_bar: ProgressBar, stop: Stop
) -> tuple[Tensor, Tensor, Tensor]:
    """Maximise a log-density of rows (1, d) by L-BFGS, in coordinates in which its curvature is nearly isotropic.

    Returns:
        The best row of any step, (1, d), its log-density (1,), and the log-density of each evaluation, (evaluations,).
    """
    values, best_values, history = start.clone().requires_grad_(), start, []
    best = torch.full_like(start[:, 0], -torch.inf)
    optimizer = torch.optim.LBFGS([values], max_iter=steps, max_eval=2 * steps, line_search_fn="strong_wolfe")

    def evaluate() -> Tensor:
        nonlocal best, best_values
        found = LogProbInThreads.apply(values, log_prob)
        (values.grad,) = torch.autograd.grad(-found.sum(), values)
        history.append(found.detach()[0])
        if found > best:
            best, best_values = found.detach(), values.detach().clone()
        progress_bar.update(len(history), min(len(history) / (steps + 1), 1.0), f"log p {best.item():.1f}")
        return -found.detach().sum()

    with stop:
        optimizer.step(evaluate) if steps else evaluate()
    return best_values, best, torch.stack(history or [best[0]])
