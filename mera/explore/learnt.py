"""What all visitors of the explorer share: the flow, and what is found out about it once; no web in here."""

from __future__ import annotations

import copy
import threading
from typing import NamedTuple

from torch import Tensor

from mera._utils.errors import InputError
from mera.analysis import leading, receptive_fields
from mera.analysis.latents import LatentIndex, check_latent, check_level
from mera.cones.incremental import Change, Wiring
from mera.density import Density
from mera.drawing.colours import coloured
from mera.flow import Flow

LEADS = 6
"""How many latents of a level have sliders."""
FIELD_SAMPLES = 8
"""Latents over which receptive fields are averaged: enough for a thumbnail."""


class Lead(NamedTuple):
    """A latent with a strong receptive field.

    Attributes:
        latent: (level, channel, *site).
        thumbnail: its receptive field as a picture, (3, H, W) uint8.
    """

    latent: LatentIndex
    thumbnail: Tensor


class Learnt:
    """What all visitors share: the flow, the addresses of its variables, and receptive fields once they are computed.

    Args:
        flow: a flow without context on a lattice of two dimensions, with 1 or 3 channels.
        is_image: whether data are images; if not, their first component is shown, blue below 0 and red above.

    Raises:
        ValueError: if it is another flow.
    """

    def __init__(self, flow: Density, is_image: bool = True) -> None:
        inside = flow.flow
        lattice = inside.plan.input
        if inside.plan.context is not None or lattice.dim != 2 or (is_image and lattice.channels not in (1, 3)):
            raise InputError(
                "a flow of two dimensions without context, and for images with 1 or 3 channels",
                f"one on {lattice}" + ("" if inside.plan.context is None else ", with a context"),
            )
        self.flow: Flow = copy.deepcopy(inside).eval().requires_grad_(False)
        self.is_image = is_image
        self.note = "" if inside is flow else ", of one element of the mixture"
        self.wiring = Wiring(inside.plan)
        self._lock = threading.Lock()
        self._leads: dict[int, list[Lead]] = {}
        self._changes: dict[LatentIndex, Change] = {}

    @property
    def levels(self) -> int:
        """The number of levels of latents."""
        return len(self.flow.plan.latents)

    def picture(self, x: Tensor) -> Tensor:
        """One datum (1, C, H, W) as a picture, (1 or 3, H, W) uint8.

        Args:
            x: the datum, in the flow's own space.
        """
        return self.flow.to_images(x)[0].cpu() if self.is_image else coloured(x[0, 0].cpu())

    def leads(self, level: int) -> list[Lead]:
        """The latents of a level with the strongest receptive fields, the strongest first; computed once.

        Args:
            level: the level, 0 for the finest.
        """
        with self._lock:  # derivatives forward do not nest, not even in threads
            return self._found(check_level(self.flow.plan, level))

    def _found(self, level: int) -> list[Lead]:
        """The strongest latents of a level, computed if they are not known."""
        if level not in self._leads:
            latents = leading(self.flow, level, LEADS, samples=FIELD_SAMPLES)
            fields = receptive_fields(self.flow, latents, samples=FIELD_SAMPLES)
            self._leads[level] = [
                Lead(*pair) for pair in zip(latents, map(coloured, fields.mean(1).cpu()), strict=True)
            ]
        return self._leads[level]

    def change(self, latent: LatentIndex) -> Change:
        """What changes with a latent.

        Args:
            latent: (level, channel, *site).
        """
        level, *place = check_latent(self.flow.plan, latent)
        if latent not in self._changes:
            address = self.wiring.latents[level][tuple(place)]
            self._changes[latent] = self.wiring.change([address[None]]).to(self.flow.device)
        return self._changes[latent]
