"""The flow and results about it that all visitors of the explorer share; independent of the web framework."""

from __future__ import annotations

import copy
import threading

from torch import Tensor

from mera._utils.errors import InputError
from mera.analysis import leading, receptive_fields
from mera.analysis.drawing.colours import coloured
from mera.analysis.latents import LatentIndex
from mera.flow.density import Density
from mera.flow.flow import Flow

LEADS = 6
"""The number of latents of a level that have sliders."""
FIELD_SAMPLES = 8
"""The number of samples over which receptive fields are averaged, enough for a thumbnail."""
STRENGTH_SAMPLES = 512
"""The number of samples from which the strongest latents are found."""


class Learnt:
    """A flow, and a cache of receptive fields.

    Args:
        flow: a flow without context on a lattice of two dimensions; for images, with 1 or 3 channels.
        is_image: whether data are images; otherwise, the first channel is shown, blue below 0 and red above.

    Raises:
        ValueError: if the flow does not meet these conditions.
    """

    def __init__(self, flow: Density, is_image: bool = True) -> None:
        bijection = flow.flow
        lattice = bijection.plan.input
        if bijection.plan.context is not None or lattice.dim != 2 or (is_image and not lattice.is_picture):
            raise InputError(
                "a flow of two dimensions without context, and for images with 1 or 3 channels",
                f"a flow on {lattice}" + ("" if bijection.plan.context is None else ", with a context"),
            )
        self.flow: Flow = copy.deepcopy(bijection).eval().requires_grad_(False)
        self.is_image = is_image
        self.note = "" if bijection is flow else ", of one element of the mixture"
        self._lock = threading.Lock()
        self._leads: dict[int, list[tuple[LatentIndex, Tensor]]] = {}

    @property
    def levels(self) -> int:
        """The number of levels of latents."""
        return len(self.flow.plan.latents)

    def picture(self, x: Tensor) -> Tensor:
        """Convert one example (1, C, H, W) in the flow's own space to a picture, (1 or 3, H, W) uint8."""
        return self.flow.to_images(x)[0].cpu() if self.is_image else coloured(x[0, 0].cpu())

    def leads(self, level: int) -> list[tuple[LatentIndex, Tensor]]:
        """The latents (level, channel, *site) of a level with the strongest receptive fields, strongest first; cached.

        Each latent has its receptive field as a picture, (3, H, W) uint8. Level 0 is the finest.
        """
        with self._lock:  # two threads would compute the same latents
            level = self.flow.plan.check_level(level)
            if level not in self._leads:
                latents = leading(self.flow, level, LEADS, samples=STRENGTH_SAMPLES)
                fields = receptive_fields(self.flow, latents, samples=FIELD_SAMPLES)
                self._leads[level] = list(zip(latents, map(coloured, fields.mean(1).cpu()), strict=True))
            return self._leads[level]
