"""Fillings by a flow with learnt noise, drawn as outputs of the noise bijector, in which log p has no steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mera.bijectors import LearntNoise
from mera.cones import Region, sites_of
from mera.graph import Lattice
from mera.graph.indexing import mask_from_sites
from mera.inpaint.inpaint import Inpainting

PASSES = 200
"""The passes that spread the surroundings of a hole into it."""


@torch.no_grad()
def inpaint_behind(
    noise: LearntNoise, x: Tensor, mask: Region, search: Callable[[Tensor], Inpainting],
    log_prob: Callable[[Tensor], Tensor], lattice: Lattice,
) -> Inpainting:  # fmt: skip
    """Fill masked pixels by `search` of a flow without its first bijector, the noise.

    The noise of unmasked pixels reads the levels of pixels around them. In the hole, levels are spread from its
    surroundings, so that the filling does not depend on what the mask hides. Levels are the same on both sides of the
    noise: the filled image has the levels that were drawn.

    Args:
        noise: the first bijector.
        x: one image, (1, C, *shape).
        mask: the pixels to fill.
        search: fills an image behind the noise.
        log_prob: log p of images of the whole flow.
        lattice: the lattice of the image.
    """
    hidden = mask_from_sites(sites_of(mask, lattice), lattice).to(x.device)
    known = torch.where(hidden, x[:, :, ~hidden].mean(2).nan_to_num().view(len(x), -1, *(1 for _ in hidden.shape)), x)
    for _ in range(PASSES):
        shifted = [torch.roll(known, step, axis) for axis in range(2, x.ndim) for step in (1, -1)]
        known = torch.where(hidden, torch.stack(shifted).mean(0), x)
    found = search(noise(known)[0])

    def in_front(values: Tensor) -> Tensor:
        """Undo the noise of masked pixels; the others are as they were."""
        return torch.where(hidden, noise.inverse(values)[0], x)

    if found.draws is not None and found.samples is not None:
        found = replace(found, draws=in_front(found.draws), samples=in_front(found.samples))
    image = in_front(found.image)
    return replace(found, image=image, likeliest=in_front(found.likeliest), original=x, log_prob=log_prob(image)[0])
