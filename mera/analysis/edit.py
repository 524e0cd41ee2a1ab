"""Images with some latents changed: traversals, mixing by scale or by place, projection on coarse levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.analysis.latents import LatentIndex, check_latent, check_level
from mera.cones import Site
from mera.flow import Flow, Latents


@torch.no_grad()
def traverse(
    flow: Flow,
    latent: LatentIndex,
    values: Tensor | Sequence[float],
    z: Sequence[Tensor],
    context: Tensor | None = None,
) -> Tensor:
    """Data along one latent, all other latents as they are (RG-Flow, Fig. 4 and App. B).

    Args:
        flow: the flow.
        latent: (level, channel, *site).
        values: the values of the latent.
        z: the other latents, those of one image: one tensor (1, C_h, *shape_h) for each level, finest first; from
            `flow(x)`, or from `flow.sample_latents(1, temperature)`.
        context: for a conditional flow, the context of the image.

    Returns:
        The data (len(values), C, *shape) in the flow's own space.

    Raises:
        ValueError: if there is no such latent, or z is not that of one image.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, hidden=(8,))
    >>> analysis.traverse(flow, (1, 0, 2, 2), [-1, 0, 1], flow.sample_latents(1)).shape
    torch.Size([3, 3, 8, 8])
    """
    level, *place = check_latent(flow.plan, latent)
    index: tuple[Any, ...] = (slice(None), *place)
    if len(z) != len(flow.plan.latents) or len(z[0]) != 1:
        raise InputError(f"latents of one image, {len(flow.plan.latents)} levels of batch size 1", _sizes(z))
    numbers = torch.as_tensor(values, dtype=z[0].dtype, device=z[0].device)
    changed = [one.repeat(len(numbers), *(1 for _ in one.shape[1:])) for one in z]
    changed[level][index] = numbers
    if context is not None and len(context) == 1:
        context = context.expand(len(numbers), *context.shape[1:])
    return flow.inverse(changed, context)[0]


def mix(z_a: Sequence[Tensor], z_b: Sequence[Tensor], level: int) -> Latents:
    r"""Coarse features of A with fine features of B (RG-Flow, Eq. 9).

    .. math:: z = z_A \Theta_h(\lambda) + z_B (1 - \Theta_h(\lambda))

    with :math:`\Theta_h(\lambda) = 1` for levels :math:`h \ge \lambda`.

    Args:
        z_a: the latents of A, one tensor for each level, finest first.
        z_b: the latents of B.
        level: :math:`\lambda`: levels from this one on are those of A, finer ones those of B. 0 gives A, the number of
            levels gives B.

    Raises:
        ValueError: if A and B have other shapes than each other, or there is no such level.

    >>> import torch
    >>> a, b = (torch.zeros(1), torch.zeros(1)), (torch.ones(1), torch.ones(1))
    >>> [level.item() for level in mix(a, b, 1)]
    [1.0, 0.0]
    """
    _check_pair(z_a, z_b)
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= len(z_a):
        raise InputError(f"a level from 0 to {len(z_a)}", repr(level))
    return (*z_b[:level], *z_a[level:])


def combine(z_a: Sequence[Tensor], z_b: Sequence[Tensor], where: Sequence[Tensor]) -> Latents:
    """The latents of A in one part of the tree, and those of B elsewhere.

    Args:
        z_a: the latents of A, one tensor (B, C_h, *shape_h) for each level, finest first.
        z_b: the latents of B.
        where: for each level a bool mask, (*shape_h) or (C_h, *shape_h), true for the latents of A: `cone.levels` of a
            cone, or `subtree(flow, level, site)`.

    Raises:
        ValueError: if shapes do not fit each other, or a mask is not bool.
    """
    _check_pair(z_a, z_b)
    if len(where) != len(z_a) or any(not isinstance(mask, Tensor) or mask.dtype != torch.bool for mask in where):
        raise InputError(f"a bool mask for each of {len(z_a)} levels", repr(type(where).__name__))
    for a, mask in zip(z_a, where, strict=True):
        if tuple(mask.shape) not in (tuple(a.shape[1:]), tuple(a.shape[2:])):
            raise InputError(f"a mask of shape {tuple(a.shape[2:])} or {tuple(a.shape[1:])}", f"{tuple(mask.shape)}")
    return tuple(torch.where(mask.to(a.device), a, b) for a, b, mask in zip(z_a, z_b, where, strict=True))


def subtree(flow: Flow, level: int, site: Site) -> tuple[Tensor, ...]:
    """The latents below a site on the hyperbolic tree: those at the site, and those of finer levels in its cell.

    The cell of a site is the part of the pixels that the site stands for: a square of 2^(h+1) pixels in an RG-Flow.

    Args:
        flow: the flow.
        level: the level of the site, 0 for the finest.
        site: the coordinates of the site in the lattice of the level.

    Returns:
        For each level a bool mask (*shape_h), finest first; coarser levels are all false.

    Raises:
        ValueError: if there is no such level or site.
    """
    plan = flow.plan
    coordinates = check_latent(plan, (level, 0, *site))[2:]  # type: ignore[misc]
    top = plan.latents[check_level(plan, level)].lattice
    masks = []
    for h, latent in enumerate(plan.latents):
        mask = torch.full(latent.lattice.shape, h <= level)
        for d, n in enumerate(latent.lattice.shape if h <= level else ()):
            is_below = top.cell_of(torch.arange(n), d, n) == coordinates[d]
            mask &= is_below.view(-1, *(1 for _ in range(plan.input.dim - d - 1)))
        masks.append(mask)
    return tuple(masks)


@torch.no_grad()
def project(
    flow: Flow,
    x: Tensor,
    level: int,
    how: str = "mode",
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
) -> Tensor:
    """Data whose latents below a level carry nothing: what do the levels from there on know of an image?

    Args:
        flow: the flow.
        x: data (B, C, *shape) in the flow's own space.
        level: latents of levels below it are replaced; 0 gives x back.
        how: "mode" to set them to the mode of the prior, "redraw" to draw them anew.
        temperature: the temperature at which they are drawn.
        context: for a conditional flow, the contexts of the data.

    Returns:
        The data (B, C, *shape).

    Raises:
        ValueError: if there is no such level, or `how` is another word.
    """
    check_choice(how, ("mode", "redraw"), "a way to replace latents")
    z, _ = flow(x, context)
    if how == "redraw":
        replaced = flow.sample_latents(len(x), temperature)
    else:
        mode = flow.prior.distribution.mode
        replaced = tuple(torch.full_like(one, float(mode)) for one in z)
    return flow.inverse(mix(z, replaced, level), context)[0]


def _check_pair(z_a: Sequence[Tensor], z_b: Sequence[Tensor]) -> None:
    """Refuse latents of two flows, or of batches that do not fit each other."""
    shapes = [[tuple(level.shape[1:]) for level in z] for z in (z_a, z_b)]
    if shapes[0] != shapes[1]:
        raise InputError("latents of one flow", f"{_sizes(z_a)} and {_sizes(z_b)}")


def _sizes(z: Sequence[Tensor]) -> str:
    """The shapes of levels as text."""
    return ", ".join(str(tuple(level.shape)) for level in z)
