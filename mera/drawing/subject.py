"""The subject of the figures of the paper: a flow, images, and results that several figures share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.analysis import LatentStatistics, statistics, strengths
from mera.flow import Flow

SEED = 0
"""The seed of the samples that the figures show."""
FINEST, COARSER = 0.2, 0.6
"""The temperatures of App. B: the finest level takes the longest to learn, and its latents are drawn colder."""
FIELD_SAMPLES = 8
"""Samples over which receptive fields are averaged."""
DRAWN = 100
"""Samples in the place of images."""
PAIRS = 1000
"""Pairs of latents for each number of the figures of statistics."""


class Subject:
    """A flow of images that figures are drawn of, and results that several figures share.

    Args:
        flow: the flow.
        images: some test images (N, C, H, W) uint8; samples of the flow if None.
        learn_pinwheel: trains a flow with a prior on the pinwheel, for Fig. 9; see `mera.train.pinwheel`.
    """

    def __init__(
        self, flow: Flow, images: Tensor | None = None, learn_pinwheel: Callable[[str], Flow] | None = None
    ) -> None:
        self.flow, self._learn_pinwheel = flow, learn_pinwheel
        if images is None:
            with fixed_seed(SEED):
                images = flow.to_images(flow.sample(DRAWN))
        self.images = images

    @cached_property
    def pinwheels(self) -> dict[str, Flow]:
        """Flows with a Laplace and a Gaussian prior that have learnt the pinwheel, by the name of the prior.

        Raises:
            InputError: if there is no function that trains them.
        """
        if self._learn_pinwheel is None:
            raise InputError("a Subject with learn_pinwheel for Fig. 9", "one without")
        return {prior: self._learn_pinwheel(prior) for prior in ("laplace", "gaussian")}

    @cached_property
    def norms(self) -> tuple[Tensor, ...]:
        """The strengths of all receptive fields, level by level."""
        with fixed_seed(SEED):
            return strengths(self.flow, FIELD_SAMPLES)

    @cached_property
    def statistics(self) -> LatentStatistics:
        """The latents of the images against the prior and against each other."""
        return statistics(self.flow, self.images, pairs=PAIRS)

    @property
    def temperatures(self) -> list[float]:
        """The mixed temperature of App. B, one for each level."""
        return [FINEST, *[COARSER] * (len(self.flow.plan.latents) - 1)]
