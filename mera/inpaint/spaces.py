"""What is varied to fill the masked pixels: the pixels themselves, or latents."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mera._utils.checks import check_choice, is_integer
from mera.cones import Restriction

__all__ = ["Latents", "Pixels", "Space", "choose_space"]


class Space(ABC):
    """Coordinates of a filling."""

    size: int
    """How many variables are varied, for the user; of some of them there may be no coordinate."""

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """Random coordinates to start from, (n, coordinates)."""

    @abstractmethod
    def decode(self, values: Tensor) -> Tensor:
        """Coordinates (K, coordinates) to masked pixels (K, C, n)."""


class Pixels(Space):
    """The masked pixels, drawn from the mean and deviation that each channel has around them."""

    def __init__(self, local: Restriction) -> None:
        known = local.known
        self.shape = local.pixels.shape[1:]
        self.size = self.shape.numel()
        self.mean, self.deviation = known.mean(2, keepdim=True), known.std(2, keepdim=True, correction=0)

    def draw(self, n: int) -> Tensor:
        """Gaussian noise."""
        noise = torch.randn(n, *self.shape, dtype=self.mean.dtype, device=self.mean.device)
        return (self.mean + self.deviation * noise).flatten(1)

    def decode(self, values: Tensor) -> Tensor:
        """Themselves."""
        return values.unflatten(1, self.shape)


class Latents(Space):
    """Latents in the inference cone of the masked pixels; the others stay as they are.

    Args:
        local: the flow around the image.
        filling: masked pixels (1, C, n) for a first image, which says what the latents that are not varied are.
        count: vary this many latents of all that the flow has, chosen at random, in place of those in the cone. Those
            among them that are outside the cone count, but stay: no masked pixel would move with them.
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
        """From the prior."""
        return self.local.prior.sample([(n, len(self.chosen))], [1.0], self.base)[0]

    def decode(self, values: Tensor) -> Tensor:
        """What the flow generates from them."""
        row = self.base.expand(values.shape[0], -1).index_copy(1, self.chosen, values)
        shapes = self.local.latent_shapes
        levels = row.split([channels * n for channels, n in shapes], dim=1)
        return self.local.decode([level.unflatten(1, shape) for level, shape in zip(levels, shapes, strict=True)])


def choose_space(local: Restriction, space: str, latents: str | int) -> Space:
    """The space that a user names.

    Raises:
        ValueError: if the space is unknown, or there are not so many latents.
    """
    variables = local.cone.plan.input.variables
    count: int | None
    if isinstance(latents, str):
        count = variables if check_choice(latents, ["cone", "all"], "latents to vary") == "all" else None
    elif is_integer(latents) and 1 <= latents <= variables:
        count = int(latents)
    else:
        raise ValueError(f"Expected 1 to {variables} latents to vary; got {latents!r}")
    pixels = Pixels(local)
    if check_choice(space, ["latent", "pixel"], "a space") == "pixel":
        return pixels
    return Latents(local, pixels.decode(pixels.draw(1)), count)
