"""What the figures of the paper are drawn of: a flow, some images, and what several figures need."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from mera._utils.random import fixed_seed
from mera.analysis import LatentStatistics, statistics, strengths
from mera.flow import Flow

__all__ = ["SAMPLES", "SEED", "Subject"]

SEED = 0
"""The seed of the samples that the figures show."""
FINEST, COARSER = 0.2, 0.6
"""The temperatures of App. B: the finest level takes the longest to learn, and its latents are drawn colder."""
SAMPLES = 8
"""Samples over which receptive fields are averaged."""
DRAWN = 100
"""Samples in the place of images."""
PAIRS = 1000
"""Pairs of latents for each number of the figures of statistics."""


class Subject:
    """A flow of images that figures are drawn of, and what several of them need.

    Args:
        flow: the flow.
        images: some test images (N, C, H, W) uint8; samples of the flow if None.
    """

    def __init__(self, flow: Flow, images: Tensor | None = None) -> None:
        self.flow = flow
        if images is None:
            with fixed_seed(SEED):
                images = flow.to_images(flow.sample(DRAWN))
        self.images = images

    @cached_property
    def norms(self) -> tuple[Tensor, ...]:
        """The strengths of all receptive fields, level by level."""
        with fixed_seed(SEED):
            return strengths(self.flow, SAMPLES)

    @cached_property
    def statistics(self) -> LatentStatistics:
        """The latents of the images against the prior and against each other."""
        return statistics(self.flow, self.images, pairs=PAIRS)

    @property
    def temperatures(self) -> list[float]:
        """The mixed temperature of App. B, one for each level."""
        return [FINEST, *[COARSER] * (len(self.flow.plan.latents) - 1)]
