"""The latents that a search varies to fill masked pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.cones import Restriction


class LatentSpace:
    """Latents in the inference cone of the masked pixels.

    Args:
        local: the restriction of the flow to the masked pixels.
        filling: masked pixels (1, C, n), which determine the latents that are not varied.
        count: the number of varied latents, chosen at random among all latents of the flow; None to vary all latents in
            the cone. Chosen latents outside of the cone do not have a coordinate: masked pixels do not depend on them.

    Attributes:
        size: the number of varied variables; latents outside of the cone count.
        levels: the level of each coordinate, 0 for the finest.
    """

    def __init__(self, local: Restriction, filling: Tensor, count: int | None = None) -> None:
        self.local = local
        self.base = torch.cat([level.flatten(1) for level in local.encode(filling)], dim=1)
        indices = local.in_cone.nonzero()[:, 0]
        self.size = len(indices)
        if count is not None:
            draws = torch.randperm(local.cone.plan.input.variables)[:count]  # latents in the cone are numbered first
            indices, self.size = indices[draws[draws < len(indices)]], count
        self.chosen = indices.to(self.base.device)
        sizes = torch.tensor([channels * n for channels, n in local.latent_shapes])
        self.levels = torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(self.base.device)[self.chosen]

    def draw(self, n: int) -> Tensor:
        """Draw latents from the prior, (n, coordinates)."""
        return self.local.prior.sample([(n, len(self.chosen))], [1.0], self.base)[0]

    def decode(self, values: Tensor) -> Tensor:
        """Generate masked pixels (K, C, n) with the flow, from coordinates (K, coordinates)."""
        row = self.base.expand(values.shape[0], -1).index_copy(1, self.chosen, values)
        shapes = self.local.latent_shapes
        levels = row.split([channels * n for channels, n in shapes], dim=1)
        return self.local.decode([level.unflatten(1, shape) for level, shape in zip(levels, shapes, strict=True)])


@torch.no_grad()
def latent_space(local: Restriction, latents: str | int) -> LatentSpace:
    """The latents of a search; those that are not varied come from noise in place of the masked pixels.

    Args:
        local: the restriction of the flow to the masked pixels.
        latents: the latents that are varied: "cone", "all" or a number.

    Raises:
        ValueError: if the number of latents is not positive, or exceeds the number of the flow's latents.
    """
    variables = local.cone.plan.input.variables
    count = {"cone": None, "all": variables}[latents] if isinstance(latents, str) else latents
    if count is not None and not (is_integer(count) and 1 <= count <= variables):
        raise InputError(f"1 to {variables} latents to vary", repr(latents))
    seen = local.unmasked_pixels
    noise = torch.randn(1, *local.pixels.shape[1:], dtype=seen.dtype, device=seen.device)
    filling = seen.mean(2, keepdim=True) + seen.std(2, keepdim=True, correction=0) * noise
    return LatentSpace(local, filling, count)
