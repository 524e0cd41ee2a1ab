"""Encoding of many images in batches."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.flow.flow import Flow

BATCH = 100


@torch.no_grad()
def encode_levels(flow: Flow, images: Tensor, context: Tensor | None = None) -> list[Tensor]:
    """The latents of all images, finest level first, (B, C_h, *shape_h) each, in single precision on the CPU.

    Args:
        images: images (B, C, *shape), uint8, which are dequantised with noise; or data in the flow's own space.
        context: for a conditional flow, the context of each image, or one context for all images.
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
