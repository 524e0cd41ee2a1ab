"""Edits of latents: traversals, and mixing by scale or by site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import as_plain, is_integer
from mera._utils.errors import InputError
from mera.analysis.latents import LatentIndex, check_latent
from mera.cones import Site
from mera.flow.flow import Flow, Latents


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

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, hidden=(8,))
    >>> analysis.traverse(flow, (1, 0, 2, 2), [-1, 0, 1], flow.sample_latents(1)).shape
    torch.Size([3, 3, 8, 8])
    """
    level, *place = check_latent(flow.plan, latent)
    index: tuple[Any, ...] = (slice(None), *place)
    if len(z) != len(flow.plan.latents) or not z[0].ndim or len(z[0]) != 1:
        sizes = ", ".join(str(tuple(level.shape)) for level in z)
        raise InputError(f"latents of one image, {len(flow.plan.latents)} levels of batch size 1", sizes)
    numbers = torch.as_tensor(values, dtype=z[0].dtype, device=z[0].device)
    changed = [values_h.repeat(len(numbers), *(1 for _ in values_h.shape[1:])) for values_h in z]
    changed[level][index] = numbers
    if context is not None and len(context) == 1:
        context = context.expand(len(numbers), *context.shape[1:])
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

    >>> import torch
    >>> a, b = (torch.zeros(1), torch.zeros(1)), (torch.ones(1), torch.ones(1))
    >>> [level.item() for level in mix(a, b, 1)]
    [1.0, 0.0]
    """
    if not is_integer(level) or not 0 <= level <= len(z_a):
        raise InputError(f"a level from 0 to {len(z_a)}", repr(level))
    return (*z_b[:level], *z_a[level:])


def combine(z_a: Sequence[Tensor], z_b: Sequence[Tensor], where: Sequence[Tensor]) -> Latents:
    """Take the latents of A in one part of the tree, and the latents of B elsewhere.

    Args:
        z_a: the latents of A, one tensor (B, C_h, *shape_h) for each level, finest first.
        z_b: the latents of B.
        where: for each level, a bool mask (*shape_h) or (C_h, *shape_h), true for the latents of A: `cone.levels` of a
            cone, or `subtree(flow, level, site)`.
    """
    for a, mask in zip(z_a, where, strict=True):
        if tuple(mask.shape) not in (tuple(a.shape[1:]), tuple(a.shape[2:])):
            raise InputError(f"a mask of shape {tuple(a.shape[2:])} or {tuple(a.shape[1:])}", f"{tuple(mask.shape)}")
    return tuple(torch.where(mask.to(a.device), a, b) for a, b, mask in zip(z_a, z_b, where, strict=True))


def subtree(flow: Flow, level: int, site: Site) -> tuple[Tensor, ...]:
    """Masks of the latents below a site on the tree: at the site itself, and at finer levels in the cell of the site.

    The cell of a site is the set of pixels that the site covers: a square of 2^(h+1) pixels in an RG-Flow. The masks
    are (*shape_h) bool, finest level first, and all false for levels coarser than `level`.
    """
    plan = flow.plan
    values = as_plain(site, "a site")
    place = tuple(values) if isinstance(values, Sequence) else (values,)
    level, _, *coordinates = check_latent(plan, (level, 0, *place))
    top = plan.latents[level].lattice
    masks = []
    for h, latent in enumerate(plan.latents):
        mask = torch.full(latent.lattice.shape, h <= level)
        for d, n in enumerate(latent.lattice.shape if h <= level else ()):
            is_below = top.cell_of(torch.arange(n), d, n) == coordinates[d]
            mask &= is_below.view(-1, *(1 for _ in range(plan.input.dim - d - 1)))
        masks.append(mask)
    return tuple(masks)
