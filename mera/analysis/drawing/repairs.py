"""Fig. 6 of the RG-Flow paper: inpainting of squares in images."""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.random import fixed_seed
from mera.analysis.drawing.figures import Picture
from mera.analysis.drawing.images import draw_image, paint_mask
from mera.flow.flow import Flow

SHOWN, STEPS = 4, 40
"""The number of images, and the number of Adam steps."""


def repairs(flow: Flow, images: Tensor) -> Picture:
    """Hide a random square in each of the first four images (N, 1 or 3, H, W) uint8, and fill it with the flow."""
    height, width = flow.plan.input.shape
    edge = min(height, width) // 4
    rows: list[Tensor] = []
    names = []
    with fixed_seed(0):
        for image in images[:SHOWN]:
            mask = torch.zeros(height, width, dtype=torch.bool)
            top, left = (int(torch.randint(edge, n - 2 * edge + 1, ())) for n in (height, width))
            mask[top : top + edge, left : left + edge] = True
            before = image[None].to(flow.device)
            inpainting = flow.inpaint(flow.from_images(before), mask, draws=64, sweeps=2, starts=2, steps=STEPS)
            filled = torch.where(mask.to(flow.device), flow.to_images(inpainting.image), before)
            error = ((filled.float() - before.float())[:, :, mask] / 255).square().mean().sqrt()
            rows.append(torch.cat([before, paint_mask(before, mask.to(flow.device)), filled]).cpu())
            names.append(f"{inpainting.varied:,} latents, rms {error:.2f}")
    figure = Picture(figsize=(1.7 * len(rows), 5.6), layout="constrained")
    axes = figure.subplots(3, len(rows), squeeze=False)
    for column, pictures in enumerate(rows):
        for row, (caption, image) in enumerate(zip(("image", "hidden", names[column]), pictures, strict=True)):
            draw_image(axes[row, column], image)
            axes[row, column].set_title(caption, fontsize=7)
    figure.suptitle("hidden squares, filled by the latents in their inference cones", fontsize=10)
    return figure
