"""One image of a flow with its latents, and all that a visitor of the explorer can do with it; no web in here."""

from __future__ import annotations

import io
from contextlib import nullcontext
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.analysis import combine, decompose, mix, subtree
from mera.analysis.latents import LatentIndex, check_latent, check_level
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.cones.incremental import IncrementalPass
from mera.data.dataset import resize
from mera.data.items import pixels_of
from mera.drawing.colours import coloured
from mera.explore.learnt import Learnt
from mera.flow import Latents

LARGEST_UPLOAD = 20 * 2**20
"""The most bytes of a picture that is uploaded."""
LARGEST_EDGE = 10_000
"""The most pixels along an edge of such a picture, which is reduced to the size of the flow's."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SEARCH: dict[str, Any] = {"draws": 50, "sweeps": 1, "steps": 30, "warmup": 30, "iterations": 10, "leapfrog": 8}
"""The search for fillings."""
KEPT = 20
"""How many images `undo` can go back."""


class Studio:
    """The image of one visitor, and its latents.

    Args:
        learnt: the flow.
        seed: the seed of the first image; random if None.

    Attributes:
        temperatures: for each level, finest first, the temperature of latents that are drawn.
    """

    def __init__(self, learnt: Learnt, seed: int | None = None) -> None:
        self.learnt, self.flow = learnt, learnt.flow
        self.temperatures = [1.0] * learnt.levels
        self._kept: list[Tensor] = []
        self.draw(seed)

    # What is there

    @property
    def latents(self) -> Latents:
        """The latents of the image, one tensor (1, C_h, *shape_h) for each level, finest first."""
        return self._pass.latents

    @property
    def data(self) -> Tensor:
        """The image in the flow's own space, (1, C, H, W)."""
        return self._pass.data

    @property
    def picture(self) -> Tensor:
        """The image, (1 or 3, H, W) uint8."""
        return self.learnt.picture(self.data)

    @property
    def before(self) -> Tensor:
        """The image that was drawn or opened last, before any change of it."""
        return self.learnt.picture(self._start)

    def value(self, latent: LatentIndex) -> float:
        """The value of a latent.

        Args:
            latent: (level, channel, *site).
        """
        level, *place = check_latent(self.flow.plan, latent)
        return float(self.latents[level][(0, *place)])

    @torch.no_grad()
    def log_prob(self) -> float:
        """The log-density of the image, in nats."""
        return float(self.flow.prior.log_prob(self.latents) - self._pass.log_det)

    # What changes it

    def draw(self, seed: int | None = None) -> None:
        """Draw an image at the temperatures of the levels.

        Args:
            seed: the seed, which must not be given while other threads draw random numbers; random if None.
        """
        with nullcontext() if seed is None else fixed_seed(seed):
            self._open(self._decode(self.flow.sample_latents(1, self.temperatures)))

    def upload(self, content: bytes) -> None:
        """Take a picture from a file in place of the image: the largest rectangle of the flow's proportions, resized.

        Args:
            content: the bytes of the file.

        Raises:
            ValueError: if the bytes are no picture, or too large a one.
        """
        if not self.learnt.is_image:
            raise InputError("a flow of images, for a picture", "a flow of fields")
        lattice = self.flow.plan.input
        pixels = resize(pixels_of(_opened(content), lattice.channels), lattice.shape)
        with torch.no_grad():
            self._open(self.flow.from_images(pixels[None].to(self.flow.device)))

    def set(self, latent: LatentIndex, value: float) -> None:
        """Set a latent; its generation cone alone is evaluated.

        Args:
            latent: (level, channel, *site).
            value: the new value.
        """
        change = self.learnt.change(latent)
        with fixed_weights():
            self._pass.propose(change, torch.full_like(self._pass.at(change), value))
            self._pass.settle(change, torch.ones(1, 1, dtype=torch.bool, device=self.flow.device))

    def redraw(self, level: int) -> None:
        """Draw the latents of a level anew.

        Args:
            level: the level, 0 for the finest.
        """
        check_level(self.flow.plan, level)
        fresh = self.flow.sample_latents(1, self.temperatures)
        z = tuple(new if h == level else old for h, (new, old) in enumerate(zip(fresh, self.latents, strict=True)))
        self.replace(self._decode(z))

    def redraw_below(self, level: int, mask: Tensor) -> None:
        """Draw latents anew that are below sites of a level on the tree: the sites that stand for marked pixels.

        Args:
            level: the level, 0 for the finest.
            mask: a bool mask of the pixels, (H, W).

        Raises:
            ValueError: if no pixel is marked.
        """
        if not mask.any():
            raise InputError("marked pixels", "none")
        lattice = self.flow.plan.latents[check_level(self.flow.plan, level)].lattice
        fresh, z = self.flow.sample_latents(1, self.temperatures), self.latents
        sites = {
            tuple(lattice.cell_of(p, d, n) for d, (p, n) in enumerate(zip(pixel, mask.shape, strict=True)))
            for pixel in mask.nonzero().tolist()
        }
        for site in sites:
            z = combine(fresh, z, subtree(self.flow, level, site))
        self.replace(self._decode(z))

    def mixture(self, other: Studio, level: int) -> Tensor:
        """The data of this image's levels from one on, and of the finer levels of another image (RG-Flow, Eq. 9).

        Args:
            other: the other image.
            level: the finest level of this image.
        """
        return self._decode(mix(self.latents, other.latents, level))

    def replace(self, x: Tensor) -> None:
        """Take other data as the changed image, such as a mixture or a filling; `undo` goes back.

        Args:
            x: the data, (1, C, H, W), in the flow's own space.
        """
        self._kept = [*self._kept[1 - KEPT :], self.data.clone()]
        self._pass.data = x

    def undo(self) -> bool:
        """Go back to the image before the last change, but for those of single latents, which are lost.

        Returns:
            Whether there was such a change.
        """
        if not self._kept:
            return False
        self._pass.data = self._kept.pop()
        return True

    def reset(self) -> None:
        """Go back to the image that was drawn or opened last."""
        self.replace(self._start)

    # What is asked about it

    def cost(self) -> Tensor:
        """Where the model pays: minus log p of the image over the pixels, as a picture (3, H, W) uint8."""
        maps = decompose(self.flow, self.data).maps
        return coloured(-torch.stack([one[0] for one in maps]).sum(0).cpu(), diverging=False)

    def fill(self, mask: Tensor, samples: int = 4) -> list[Tensor]:
        """Plausible fillings of masked pixels, each (1, C, H, W) in the flow's own space; only the cone is evaluated.

        The chains are short, so that a visitor need not wait; `flow.inpaint` draws better samples.

        Args:
            mask: a bool mask (H, W), true for the pixels to fill.
            samples: how many fillings.

        Raises:
            ValueError: if no pixel or every pixel is masked.
        """
        found = self.flow.inpaint(self.data.clone(), mask, samples=samples, **SEARCH)
        if found.samples is None:
            raise RuntimeError("Expected samples of an inpainting; got none")
        return list(found.samples.detach().split(1))

    def _open(self, x: Tensor) -> None:
        """Start from other data."""
        self._start, self._kept = x.clone(), []
        self._pass = IncrementalPass(self.flow.runner, self.learnt.wiring, x)

    @torch.no_grad()
    def _decode(self, z: Latents) -> Tensor:
        """The data of latents."""
        return self.flow.inverse(z)[0]


def _opened(content: bytes) -> Image.Image:
    """A picture from the bytes of a file, checked before it is decoded."""
    if len(content) > LARGEST_UPLOAD:
        raise InputError(f"a picture of at most {LARGEST_UPLOAD // 2**20} MiB", f"{len(content) / 2**20:.0f} MiB")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if max(image.size) > LARGEST_EDGE:
            raise InputError(f"a picture of at most {LARGEST_EDGE:,} pixels an edge", f"{image.width} x {image.height}")
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"a picture: {', '.join(FORMATS)}", "a file that is none, or a broken one") from error
    return image
