"""Subject of the figures of the paper: a flow, images, and results that several figures use."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from mera._utils.random import fixed_seed
from mera.analysis import LatentStatistics, statistics, strengths
from mera.flow.flow import Flow

SEED = 0
"""The seed of the samples that the figures show."""
FINEST, COARSER = 0.2, 0.6
"""The temperatures of App. B: the finest level takes the longest to learn, and its latents are drawn colder."""
FIELD_SAMPLES = 8
"""The number of samples over which receptive fields are averaged."""
PAIRS = 1000
"""The number of pairs of latents for each estimate of mutual information."""


class Subject:
    """A flow of images, test images, and results that several figures use, each computed once.

    Args:
        flow: the flow.
        images: test images (N, C, H, W) uint8.
    """

    def __init__(self, flow: Flow, images: Tensor) -> None:
        self.flow, self.images = flow, images

    @cached_property
    def norms(self) -> tuple[Tensor, ...]:
        """The strengths of all receptive fields, level by level; see `mera.analysis.strengths`."""
        with fixed_seed(SEED):
            return strengths(self.flow)

    @cached_property
    def statistics(self) -> LatentStatistics:
        """Statistics of the latents of the images."""
        return statistics(self.flow, self.images, pairs=PAIRS)

    @property
    def temperatures(self) -> list[float]:
        """The mixed temperature of App. B, one for each level."""
        return [FINEST, *[COARSER] * (len(self.flow.plan.latents) - 1)]
