"""Images of an inpainting: the likeliest filling, and the medoid, mean and spread of the draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mera.inpaint.inpaint import Inpainting

FULL_SPREAD = 0.5
"""The standard deviation that is shown as white: the largest that values from 0 to 1 can have."""


@torch.no_grad()
def as_images(result: Inpainting, x: Tensor, to_images: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The images of an inpainting by name, (C, H, W) uint8.

    Args:
        result: the inpainting.
        x: the original image, (1, C, H, W), in the flow's own space.
        to_images: from the flow's own space to uint8 images; see `Flow.to_images`.

    Returns:
        "the image" and "likeliest"; with samples also "medoid", "mean" and "spread" of the draws' images, and each
        "sample".
    """
    images = {"the image": to_images(x)[0], "likeliest": to_images(result.image)[0]}
    if result.draws is None or result.samples is None:
        return images
    draws = to_images(result.draws).float() / 255
    spread = draws.std(0, correction=0) / FULL_SPREAD
    images |= {"medoid": to_images(result.medoid)[0], "mean": _uint8(draws.mean(0)), "spread": _uint8(spread)}
    return images | {f"sample {i}": image for i, image in enumerate(to_images(result.samples), start=1)}


def _uint8(image: Tensor) -> Tensor:
    """Convert an image with values from 0 to 1 to uint8."""
    return (255 * image).round().clamp(0, 255).to(torch.uint8)
