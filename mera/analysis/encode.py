"""The latents of many images, a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.flow import Flow

BATCH = 100


@torch.no_grad()
def encode_levels(flow: Flow, images: Tensor, context: Tensor | None = None) -> list[Tensor]:
    """For each level, finest first, the latents of all images, (B, C_h, *shape_h), in single precision on the CPU.

    Args:
        flow: the flow.
        images: images (B, C, *shape), uint8, which are dequantised with noise; or data in the flow's own space.
        context: for a conditional flow, the contexts of the images, or one for all of them.
    """
    parts: list[list[Tensor]] = [[] for _ in flow.plan.latents]
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH].to(flow.device)
        x = flow.from_images(some) if some.dtype == torch.uint8 else some
        if context is None or len(context) == 1:
            z, _ = flow(x, context)
        else:
            z, _ = flow(x, context[start : start + BATCH].to(flow.device))
        for part, level in zip(parts, z, strict=True):
            part.append(level.float().cpu())
    return [torch.cat(part) for part in parts]
