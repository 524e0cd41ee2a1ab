"""Animations of images along the leading latents of a flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import torch

from mera._utils.checks import check_count
from mera._utils.files import replacing
from mera._utils.random import fixed_seed
from mera.analysis import traverse
from mera.analysis.strengths import strongest
from mera.drawing.images import grid, to_pil
from mera.drawing.subject import Subject

if TYPE_CHECKING:
    from PIL.Image import Image

EACH = 4
"""The number of leading latents of each level."""
MILLISECONDS = 80


def traversal_frames(subject: Subject, frames: int = 24) -> list[Image]:
    """Make the frames of a loop in which each tile varies one latent, four of each level, the coarsest level first.

    A latent of level 0 or 1 oscillates from -6 to 6, a coarser latent from -1.5 to 1.5, as in App. B of
    https://arxiv.org/abs/2010.00029.
    """
    flow = subject.flow
    phase = torch.arange(check_count(frames, "frames")) * (2 * math.pi / frames)
    with fixed_seed(0):
        z = flow.sample_latents(1, subject.temperatures)
    tiles = []
    for level in reversed(range(len(flow.plan.latents))):
        largest = 1.5 if level > 1 else 6.0
        for latent in strongest(subject.norms[level], level, EACH, distinct=True):
            tiles.append(flow.to_images(traverse(flow, latent, (largest * phase.sin()).to(z[0]), z)).cpu())
    return [to_pil(grid(torch.stack([tile[i] for tile in tiles]), columns=EACH)) for i in range(frames)]


def save_video(frames: Sequence[Image], path: str | PathLike[str]) -> None:
    """Write frames as a GIF that repeats for ever; the file appears whole or not at all."""
    first, *rest = frames
    with replacing(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=MILLISECONDS, loop=0)
