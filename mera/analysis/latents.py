"""Indices of latents: level, channel and site."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import as_plain, is_integer
from mera._utils.errors import InputError
from mera.flow.flow import Flow
from mera.graph import Plan

LatentIndex = tuple[int, ...]
"""The index (level, channel, *site) of a latent; level 0 is the finest."""
BATCH = 100
"""The number of images that are encoded together."""


def check_latent(plan: Plan, latent: object) -> LatentIndex:
    """Return (level, channel, *site) as a tuple of integers, and refuse a latent that the flow does not have."""
    values = as_plain(latent, "a latent")
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise InputError("a latent (level, channel, *site)", repr(latent))
    numbers = tuple(values)
    lattice = plan.latents[plan.check_level(numbers[0] if numbers else None)].lattice
    sizes = lattice.event_shape
    if len(numbers) != 1 + len(sizes) or not all(
        is_integer(number) and 0 <= number < size for number, size in zip(numbers[1:], sizes, strict=True)
    ):
        raise InputError(f"a channel and a site of level {numbers[0]}, which is {lattice}", repr(numbers[1:]))
    return tuple(map(int, numbers))


def random_latents(plan: Plan, level: int, n: int) -> list[LatentIndex]:
    """At most n distinct latents of a level, in random order."""
    latents = [(level, *place) for place in np.ndindex(plan.latents[level].lattice.event_shape)]
    return [latents[i] for i in torch.randperm(len(latents))[:n].tolist()]


@torch.no_grad()
def encode_levels(flow: Flow, images: Tensor, context: Tensor | None = None) -> list[Tensor]:
    """The latents of all images, finest level first, (B, C_h, *shape_h) each, in single precision on the CPU.

    Images (B, C, *shape) are uint8, and dequantised with noise, or data in the flow's own space.
    """
    parts: list[list[Tensor]] = [[] for _ in flow.plan.latents]
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH].to(flow.device)
        x = flow.from_images(batch) if batch.dtype == torch.uint8 else batch
        rows = context if context is None or len(context) == 1 else context[start : start + BATCH].to(flow.device)
        z, _ = flow(x, rows)
        for part, level in zip(parts, z, strict=True):
            part.append(level.float().cpu())
    return [torch.cat(part) for part in parts]
