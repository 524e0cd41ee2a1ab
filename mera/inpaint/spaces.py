"""What is varied to fill the masked pixels: the pixels themselves, or latents."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.cones import Restriction

__all__ = ["LatentSpace", "PixelSpace", "Space", "choose_space"]


class Space(ABC):
    """The variables that a search varies, as coordinates of a filling."""

    size: int
    """How many variables are varied; there may be fewer coordinates, where a variable moves no masked pixel."""

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """Random coordinates to start from, (n, coordinates)."""

    @abstractmethod
    def decode(self, values: Tensor) -> Tensor:
        """Coordinates (K, coordinates) to masked pixels (K, C, n)."""


class PixelSpace(Space):
    """The masked pixels themselves, first drawn with the mean and deviation of each channel's unmasked pixels."""

    def __init__(self, local: Restriction) -> None:
        others = local.unmasked_pixels
        self.shape = local.pixels.shape[1:]
        self.size = self.shape.numel()
        self.mean, self.deviation = others.mean(2, keepdim=True), others.std(2, keepdim=True, correction=0)

    def draw(self, n: int) -> Tensor:
        """Gaussian noise."""
        noise = torch.randn(n, *self.shape, dtype=self.mean.dtype, device=self.mean.device)
        return (self.mean + self.deviation * noise).flatten(1)

    def decode(self, values: Tensor) -> Tensor:
        """The coordinates are the pixels."""
        return values.unflatten(1, self.shape)


class LatentSpace(Space):
    """Latents in the inference cone of the masked pixels; the others stay as they are.

    Args:
        local: the flow around the image.
        filling: masked pixels (1, C, n) of a first image, from which the latents that are not varied are taken.
        count: how many latents are varied of all that the flow has, chosen at random, in place of all in the cone. A
            chosen latent outside the cone counts, but has no coordinate: no masked pixel would move with it.
    """

    def __init__(self, local: Restriction, filling: Tensor, count: int | None = None) -> None:
        self.local = local
        self.base = torch.cat([level.flatten(1) for level in local.encode(filling)], dim=1)
        chosen = local.in_cone.nonzero()[:, 0]
        self.size = len(chosen)
        if count is not None:
            places = torch.randperm(local.cone.plan.input.variables)[:count]  # those in the cone come first
            chosen, self.size = chosen[places[places < len(chosen)]], count
        self.chosen = chosen.to(self.base.device)

    def draw(self, n: int) -> Tensor:
        """Latents drawn from the prior."""
        return self.local.prior.sample([(n, len(self.chosen))], [1.0], self.base)[0]

    def decode(self, values: Tensor) -> Tensor:
        """The pixels that the flow generates."""
        row = self.base.expand(values.shape[0], -1).index_copy(1, self.chosen, values)
        shapes = self.local.latent_shapes
        levels = row.split([channels * n for channels, n in shapes], dim=1)
        return self.local.decode([level.unflatten(1, shape) for level, shape in zip(levels, shapes, strict=True)])


def choose_space(local: Restriction, space: str, latents: str | int) -> Space:
    """The space that a user names; arguments are fields of `SearchOptions`.

    Raises:
        ValueError: if the flow does not have so many latents.
    """
    variables = local.cone.plan.input.variables
    count = {"cone": None, "all": variables}[latents] if isinstance(latents, str) else latents
    if count is not None and not (is_integer(count) and 1 <= count <= variables):
        raise InputError(f"1 to {variables} latents to vary", repr(latents))
    pixels = PixelSpace(local)
    if space == "pixel":
        return pixels
    return LatentSpace(local, pixels.decode(pixels.draw(1)), count)
