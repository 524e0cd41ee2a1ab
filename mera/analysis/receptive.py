"""Receptive fields of latents: how generated data changes with a latent, on average (RG-Flow, Eq. 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera.analysis.latents import LatentIndex, check_latent, check_level
from mera.analysis.tangents import Linearization
from mera.flow import Flow


@torch.no_grad()
def receptive_fields(
    flow: Flow,
    latents: Iterable[LatentIndex],
    samples: int = 64,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
) -> Tensor:
    r"""The receptive fields of latents (RG-Flow, Eq. 8, https://arxiv.org/abs/2010.00029).

    .. math:: \mathrm{RF}_l = \mathbb{E}_{z} \frac{\partial G(z)}{\partial z_l}

    for the map :math:`G` from latents to data. The derivative is exact, by forward-mode differentiation, and is
    computed inside the generation cone of the latent only; outside it is 0.

    Args:
        flow: the flow.
        latents: for each latent (level, channel, *site).
        samples: the number of latents z, drawn from the prior, over which the mean is taken.
        temperature: the temperature of the prior, one number for all levels, or a number for each level, finest first.
        context: for a conditional flow, contexts (samples, ...), or one for all samples.

    Returns:
        The fields, (n, C, *shape), in the flow's own space.

    Raises:
        ValueError: if there is no such latent, or a number makes no sense.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,))
    >>> analysis.receptive_fields(flow, [(0, 2, 1, 1), (1, 0, 3, 0)], samples=4).shape
    torch.Size([2, 1, 8, 8])
    """
    chosen = [check_latent(flow.plan, latent) for latent in latents]
    z = flow.sample_latents(check_count(samples, "samples"), temperature)
    pass_to_data = Linearization(flow.runner, z, context)
    fields = z[0].new_zeros(len(chosen), flow.plan.input.variables)
    for rows in _by_site(chosen):
        places = [chosen[row] for row in rows]
        addresses = torch.stack([pass_to_data.wiring.latents[level][tuple(place)] for level, *place in places])
        reached, values = pass_to_data.fields(addresses)
        fields[torch.tensor(rows)[:, None], reached] = values.mean(1)
    return fields.unflatten(1, flow.plan.input.event_shape)


def strengths(
    flow: Flow,
    samples: int = 64,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
    levels: Iterable[int] | None = None,
) -> tuple[Tensor, ...]:
    """The strengths of all receptive fields: the Euclidean norm over all variables of the data (Fig. 3c, 14b).

    Args:
        flow: the flow.
        samples: the number of latents z, drawn from the prior, over which the mean is taken.
        temperature: the temperature of the prior, one number for all levels, or a number for each level, finest first.
        context: for a conditional flow, contexts (samples, ...), or one for all samples.
        levels: the levels to compute; all if None. Other levels are left out.

    Returns:
        For each level, finest first, the strengths (C_h, *shape_h).

    Raises:
        ValueError: if a number makes no sense.
    """
    plan = flow.plan
    chosen = range(len(plan.latents)) if levels is None else [check_level(plan, level) for level in levels]
    z = flow.sample_latents(check_count(samples, "samples"), temperature)
    pass_to_data = Linearization(flow.runner, z, context, for_many=True)
    found = []
    for level in chosen:
        lattice = plan.latents[level].lattice
        norms = []
        for addresses in pass_to_data.wiring.latents[level].flatten(1).unbind(1):
            _, values = pass_to_data.fields(addresses)
            norms.append(values.mean(1).norm(dim=1))
        found.append(torch.stack(norms, dim=1).unflatten(1, lattice.shape))
    return tuple(found)


def leading(
    flow: Flow,
    level: int,
    n: int = 8,
    samples: int = 64,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
) -> list[LatentIndex]:
    """The latents of a level with the strongest receptive fields, the strongest first.

    Args:
        flow: the flow.
        level: the level, 0 for the finest.
        n: how many latents; all of the level if there are fewer.
        samples: the number of latents z, drawn from the prior, over which the mean is taken.
        temperature: the temperature of the prior, one number for all levels, or a number for each level, finest first.
        context: for a conditional flow, contexts (samples, ...), or one for all samples.

    Raises:
        ValueError: if there is no such level, or a number makes no sense.
    """
    (norms,) = strengths(flow, samples, temperature, context, [check_level(flow.plan, level)])
    return strongest(norms, level, n)


def strongest(norms: Tensor, level: int, n: int) -> list[LatentIndex]:
    """The latents of a level with the largest strengths, the largest first.

    Args:
        norms: the strengths of the level, (C_h, *shape_h).
        level: the level.
        n: how many latents; all of the level if there are fewer.
    """
    order = norms.flatten().argsort(descending=True)[: check_count(n, "a number of latents")].cpu()
    places = torch.stack(torch.unravel_index(order, norms.shape), dim=1).tolist()
    return [(level, *place) for place in places]


@dataclass(frozen=True)
class Extent:
    """How far receptive fields reach.

    Args:
        pixels: for each field, the participation ratio: the number of pixels that it is spread over, (n,).
        radius: for each field, the root mean square distance of its square from its centre, in pixels, (n,).
    """

    pixels: Tensor
    radius: Tensor


def extents(fields: Tensor, periodic: Sequence[bool] | None = None) -> Extent:
    r"""How far receptive fields reach.

    With the weight :math:`w_x = \sum_c f_{cx}^2` of a pixel, the participation ratio is
    :math:`(\sum_x w_x)^2 / \sum_x w_x^2`: 1 for a field on one pixel, and the number of pixels for a uniform one.

    Args:
        fields: receptive fields, (n, C, *shape).
        periodic: for each dimension, whether the lattice is periodic, as `flow.plan.input.periodic` says; distances
            are then measured on a circle. None for open borders.

    >>> import torch
    >>> field = torch.zeros(1, 1, 8, 8)
    >>> field[0, 0, 2, 3:5] = 1
    >>> found = extents(field)
    >>> found.pixels.item(), found.radius.item()
    (2.0, 0.5)
    """
    weights = fields.square().sum(1)
    shape = weights.shape[1:]
    flat = weights.flatten(1)
    total = flat.sum(1).clamp(min=torch.finfo(flat.dtype).tiny)
    square = torch.zeros_like(total)
    for d, n in enumerate(shape):
        marginal = (
            weights.movedim(1 + d, 1).flatten(2).sum(2) / total[:, None] if len(shape) > 1 else weights / total[:, None]
        )
        square = square + _spread(marginal, n, periodic is not None and periodic[d])
    return Extent(total.square() / flat.square().sum(1).clamp(min=torch.finfo(flat.dtype).tiny), square.sqrt())


def _spread(marginal: Tensor, n: int, is_periodic: bool) -> Tensor:
    """The least mean square distance of a distribution (rows, n) over the sites of an edge from any site or middle."""
    sites = torch.arange(n, dtype=marginal.dtype, device=marginal.device)
    if not is_periodic:
        mean = marginal @ sites
        return (marginal * (sites - mean[:, None]).square()).sum(1)
    centres = torch.arange(0, n, 0.5, dtype=marginal.dtype, device=marginal.device)
    distance = (sites - centres[:, None]).abs()
    return (marginal @ torch.minimum(distance, n - distance).square().mT).amin(1)


def _by_site(latents: Sequence[LatentIndex]) -> list[list[int]]:
    """The rows of latents, those that share a level and a site, and hence a generation cone, together."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, (level, _, *site) in enumerate(latents):
        rows.setdefault((level, *site), []).append(row)
    return list(rows.values())
