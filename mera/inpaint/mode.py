"""The most likely filling (paper, App. D)."""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.progress import ProgressBar
from mera.cones import Restriction
from mera.inpaint.spaces import Space

__all__ = ["best_draw", "climb"]

CHUNK = 50
"""Draws evaluated together."""


@torch.no_grad()
def best_draw(local: Restriction, space: Space, draws: int, keep: int) -> Tensor:
    """The coordinates (keep, coordinates) of the likeliest of some random fillings, best first.

    Raises:
        ValueError: if none has a finite density.
    """
    values = torch.cat([space.draw(min(CHUNK, draws - i)) for i in range(0, draws, CHUNK)])
    log_prob = torch.cat([local.log_prob(space.decode(part)) for part in values.split(CHUNK)])
    log_prob = _ranked(log_prob)
    if log_prob.max() == -torch.inf:
        raise ValueError(f"Expected a random filling of finite density; got none in {draws} draws")
    return values[log_prob.topk(keep).indices]


def climb(
    local: Restriction, space: Space, start: Tensor, steps: int, lr: float, progress_bar: ProgressBar
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam on the log-likelihood of the filled images, several at once, with a learning rate that falls to zero.

    Returns for each start the best pixels (K, C, n) that any step came to and their log p (K,); and the history
    (steps + 1,), log p of the likeliest at each step.
    """
    values = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([values], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    best_pixels = space.decode(start)
    best = torch.full_like(start[:, 0], -torch.inf)
    history = []
    for step in range(steps + 1):
        pixels = space.decode(values)
        log_prob = local.log_prob(pixels)
        reached = _ranked(log_prob.detach())
        history.append(reached.max())
        better = reached > best
        best = torch.where(better, reached, best)
        best_pixels = torch.where(better[:, None, None], pixels.detach(), best_pixels)
        progress_bar.update(step, step / max(steps, 1), f"log p {best.max():.1f}")
        if step < steps:
            (values.grad,) = torch.autograd.grad(-log_prob.sum(), values)
            optimizer.step()
            schedule.step()
    return best_pixels, best, torch.stack(history)


def _ranked(log_prob: Tensor) -> Tensor:
    """What is not a number comes last."""
    return torch.where(log_prob.isnan(), -torch.inf, log_prob)
