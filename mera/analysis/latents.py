"""Latents: their indices, those of images, traversals, and mixing by scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import as_plain, check_type, is_integer, is_list
from mera._utils.errors import InputError
from mera.flow.flow import Flow, Latents
from mera.graph import Plan

LatentIndex = tuple[int, ...]
"""The index (level, channel, *site) of a latent; level 0 is the finest."""
BATCH = 100
"""The number of images that are encoded together."""


def check_latent(plan: Plan, latent: object) -> LatentIndex:
    """Return (level, channel, *site) as a tuple of integers, and refuse a latent that the flow does not have."""
    values = as_plain(latent)
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise InputError("a latent (level, channel, *site)", repr(latent))
    numbers = tuple(values)
    lattice = plan.latents[plan.check_level(numbers[0] if numbers else None)].lattice
    sizes = lattice.event_shape
    if len(numbers) != 1 + len(sizes) or not all(
        is_integer(number) and 0 <= number < size for number, size in zip(numbers[1:], sizes, strict=True)
    ):
        raise InputError(f"a channel and a site of level {numbers[0]}, which is {lattice}", repr(numbers[1:]))
    return tuple(map(int, numbers))


@torch.no_grad()
def encode_levels(flow: Flow, images: Tensor, context: Tensor | None = None) -> list[Tensor]:
    """The latents of all images, finest level first, (B, C_h, *shape_h) each, in single precision on the CPU.

    Images (B, C, *shape) are uint8, and dequantised with noise, or data in the flow's own space.
    """
    check_type(images, Tensor, "examples as a tensor")
    parts: list[list[Tensor]] = [[] for _ in check_type(flow, Flow, "a Flow").plan.latents]
    for start in range(0, len(images), BATCH):
        x = images[start : start + BATCH].to(flow.device)
        x = flow.from_images(x) if x.dtype == torch.uint8 else x.to(flow.dtype)
        rows = context if context is None or len(context) == 1 else context[start : start + BATCH].to(flow.device)
        z, _ = flow(x, rows)
        for part, level in zip(parts, z, strict=True):
            part.append(level.float().cpu())
    return [torch.cat(part) for part in parts]


@torch.no_grad()
def traverse(
    flow: Flow,
    latent: LatentIndex,
    values: Tensor | Sequence[float],
    z: Sequence[Tensor],
    context: Tensor | None = None,
) -> Tensor:
    """Generate data for several values of one latent, with all other latents fixed (RG-Flow, Fig. 4 and App. B).

    Args:
        latent: the latent, (level, channel, *site).
        values: the values of the latent.
        z: the latents of one image, a tensor (1, C_h, *shape_h) for each level, finest first, from `flow(x)` or
            `flow.sample_latents(1, temperature)`.
        context: for a conditional flow, the context of the image.

    Returns:
        The data (len(values), C, *shape) in the flow's own space.

    Raises:
        ValueError: if the latent does not exist, or z does not hold the latents of one image.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, hidden=(8,))
    >>> analysis.traverse(flow, (1, 0, 2, 2), [-1, 0, 1], flow.sample_latents(1)).shape
    torch.Size([3, 3, 8, 8])
    """
    check_type(flow, Flow, "a Flow")
    level, *place = check_latent(flow.plan, latent)
    index: tuple[Any, ...] = (slice(None), *place)
    if len(z) != len(flow.plan.latents) or not z[0].ndim or len(z[0]) != 1:
        sizes = ", ".join(str(tuple(level.shape)) for level in z)
        raise InputError(f"latents of one image, {len(flow.plan.latents)} levels of batch size 1", sizes)
    numbers = torch.as_tensor(values, dtype=z[0].dtype, device=z[0].device)
    changed = [values_h.repeat(len(numbers), *(1 for _ in values_h.shape[1:])) for values_h in z]
    changed[level][index] = numbers
    return flow.inverse(changed, context)[0]


def mix(z_a: Sequence[Tensor], z_b: Sequence[Tensor], level: int) -> Latents:
    r"""Combine the coarse levels of A with the fine levels of B (RG-Flow, Eq. 9).

    .. math:: z = z_A \Theta_h(\lambda) + z_B (1 - \Theta_h(\lambda))

    with :math:`\Theta_h(\lambda) = 1` for levels :math:`h \ge \lambda`.

    Args:
        z_a: the latents of A, one tensor for each level, finest first.
        z_b: the latents of B.
        level: :math:`\lambda`: this level and coarser levels are taken from A, finer levels from B. 0 gives A, and the
            number of levels gives B.

    Raises:
        ValueError: if the shapes of A and B differ, or the level does not exist.

    >>> import torch
    >>> a, b = (torch.zeros(1), torch.zeros(1)), (torch.ones(1), torch.ones(1))
    >>> [level.item() for level in mix(a, b, 1)]
    [1.0, 0.0]
    """
    if not (is_list(z_a) and is_list(z_b)):
        raise InputError("lists of latents, a tensor per level", f"{type(z_a).__name__} and {type(z_b).__name__}")
    shapes_a, shapes_b = ([tuple(level.shape[1:]) for level in z] for z in (z_a, z_b))
    if shapes_a != shapes_b:
        raise InputError("latents of one flow", f"{shapes_a} and {shapes_b}")
    if not is_integer(level) or not 0 <= level <= len(z_a):
        raise InputError(f"a level from 0 to {len(z_a)}", repr(level))
    return (*z_b[:level], *z_a[level:])
