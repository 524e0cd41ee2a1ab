"""The search for the likeliest filling (RG-Flow, App. D, https://arxiv.org/abs/2010.00029)."""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.progress import ProgressBar
from mera.cones import Restriction
from mera.inpaint.latent_space import LatentSpace


def climb(
    local: Restriction, space: LatentSpace, start: Tensor, steps: int, lr: float, progress_bar: ProgressBar
) -> tuple[Tensor, Tensor, Tensor]:
    """Maximise log p of filled images with Adam, from K starting points, with a cosine schedule of the learning rate.

    Args:
        local: the restriction of the flow to the masked pixels.
        space: the latents that are varied.
        start: the coordinates of the starting points, (K, coordinates).
        steps: the number of steps.
        lr: the learning rate of the first step.
        progress_bar: the progress bar, which shows the largest log p.

    Returns:
        For each starting point the masked pixels of the likeliest filling of any step, (K, C, n), and their log p (K,);
        and log p of the likeliest filling at each step, (steps + 1,).
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
        current = torch.where(log_prob.isnan(), -torch.inf, log_prob).detach()  # NaN ranks last
        history.append(current.max())
        better = current > best
        best = torch.where(better, current, best)
        best_pixels = torch.where(better[:, None, None], pixels.detach(), best_pixels)
        progress_bar.update(step, step / max(steps, 1), f"log p {best.max():.1f}")
        if step < steps:
            (values.grad,) = torch.autograd.grad(-log_prob.sum(), values)
            optimizer.step()
            schedule.step()
    return best_pixels, best, torch.stack(history)
