"""Receptive fields of latents: how generated data changes with a latent, on average (RG-Flow, Eq. 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import as_plain, check_count
from mera._utils.table import Numbers, numbers
from mera.analysis.latents import LatentIndex, check_latent, random_latents
from mera.flow.flow import Flow

MAX_DERIVATIVES = 2**25
"""The largest number of derivatives that are kept at once."""
MAX_VARIABLES = 2**18
"""The largest number of variables of the data in one pass."""


@torch.no_grad()
def receptive_fields(
    flow: Flow,
    latents: Iterable[LatentIndex],
    samples: int = 64,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
    median: bool = False,
) -> Tensor:
    r"""The receptive fields of latents (RG-Flow, Eq. 8, https://arxiv.org/abs/2010.00029).

    .. math:: \mathrm{RF}_l = \mathbb{E}_{z} \frac{\partial G(z)}{\partial z_l}

    for the map :math:`G` from latents to data. The derivative is exact, by automatic differentiation, and is 0
    outside the generation cone of the latent.

    Args:
        flow: the flow.
        latents: the latents, (level, channel, *site) each.
        samples: the number of samples z of the prior over which the mean is taken.
        temperature: the temperature of the prior, a number for all levels, or for each level, finest first.
        context: for a conditional flow, a context for each sample (samples, ...), or one context for all samples.
        median: whether to take the median over the samples in place of the mean, which can hang on single samples: in
            photographs the derivatives have heavy tails.

    Returns:
        The fields, (n, C, *shape), in the flow's own space.

    Raises:
        ValueError: if a latent does not exist.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,))
    >>> analysis.receptive_fields(flow, [(0, 2, 1, 1), (1, 0, 3, 0)], samples=4).shape
    torch.Size([2, 1, 8, 8])
    """
    indices = [check_latent(flow.plan, latent) for latent in as_plain(latents, "latents")]
    z = flow.sample_latents(check_count(samples, "samples"), temperature)
    at_once = max(1, MAX_DERIVATIVES // (samples * flow.plan.input.variables))
    fields = [z[0].new_empty(0, flow.plan.input.variables)]
    for start in range(0, len(indices), at_once):
        found = derivatives(flow, indices[start : start + at_once], z, context)
        fields.append(found.median(1).values if median else found.mean(1))
    return torch.cat(fields).unflatten(1, flow.plan.input.event_shape)


def derivatives(
    flow: Flow, latents: Sequence[LatentIndex], z: Sequence[Tensor], context: Tensor | None = None
) -> Tensor:
    """The derivatives of the data with respect to each of K latents at S samples z of all latents, (K, S, variables).

    The derivative J t along a latent t is that of t^T (J^T v) with respect to v, where J^T v is computed once for all
    latents. Forward mode takes longer, as torch runs its sums and products in Python.
    """
    parts, at_once = [], max(1, MAX_VARIABLES // flow.plan.input.variables)
    for start in range(0, len(z[0]), at_once):
        rows = slice(start, start + at_once)
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            part = [level[rows].clone().requires_grad_() for level in z]
            given = None if context is None else (context if len(context) == 1 else context[rows]).clone()
            x = flow.inverse(part, given)[0]
            v = torch.zeros_like(x, requires_grad=True)
            products = torch.autograd.grad(x, part, v, create_graph=True)
            sums = [product.sum(0) for product in products]
            along = [sums[level][tuple(place)] for level, *place in latents]
        parts.append(torch.stack([torch.autograd.grad(one, v, retain_graph=True)[0].flatten(1) for one in along]))
    return torch.cat(parts, dim=1)


@dataclass(frozen=True)
class Extent:
    """The extent of receptive fields.

    Args:
        pixels: the participation ratio of each field, the number of pixels that the field is spread over, (n,).
        radius: the root mean square distance of the squared field from its centre, in pixels, (n,).
    """

    pixels: Tensor
    radius: Tensor


def extents(fields: Tensor, periodic: Sequence[bool] | None = None) -> Extent:
    r"""Compute the extent of receptive fields.

    With the weight :math:`w_x = \sum_c f_{cx}^2` of a pixel, the participation ratio is
    :math:`(\sum_x w_x)^2 / \sum_x w_x^2`: 1 for a field on one pixel, and the number of pixels for a uniform one.

    Args:
        fields: receptive fields, (n, C, *shape).
        periodic: for each dimension, whether the lattice is periodic, as in `flow.plan.input.periodic`, so that
            distances are measured on a circle. None for open borders.

    >>> import torch
    >>> field = torch.zeros(1, 1, 8, 8)
    >>> field[0, 0, 2, 3:5] = 1
    >>> extent = extents(field)
    >>> extent.pixels.item(), extent.radius.item()
    (2.0, 0.5)
    """
    weights = fields.square().sum(1)
    flat = weights.flatten(1)
    total = flat.sum(1).clamp(min=torch.finfo(flat.dtype).tiny)
    square = torch.zeros_like(total)
    for d, n in enumerate(weights.shape[1:]):
        marginal = weights.movedim(1 + d, 1).flatten(2).sum(2) if weights.ndim > 2 else weights
        square = square + _spread(marginal / total[:, None], n, periodic is not None and periodic[d])
    return Extent(total.square() / flat.square().sum(1).clamp(min=torch.finfo(flat.dtype).tiny), square.sqrt())


def extents_by_level(flow: Flow, latents: int = 16, samples: int = 16) -> Numbers:
    """A table of the extents of receptive fields, means over random latents of each level with their standard errors.

    For a number of latents of each level, whose fields are averaged over a number of samples.
    """
    rows = []
    for level in range(len(flow.plan.latents)):
        selected = random_latents(flow.plan, level, latents)
        extent = extents(receptive_fields(flow, selected, samples), flow.plan.input.periodic)
        cones = [flow.generation_cone(level, latent[2:]).pixels.sum().item() for latent in selected]
        errors = [values.std().item() / len(values) ** 0.5 for values in (extent.pixels, extent.radius)]
        pixels, radius = extent.pixels.mean().item(), extent.radius.mean().item()
        rows.append([sum(cones) / len(cones), pixels, errors[0], radius, errors[1]])
    columns = ["cone, pixels", "field, pixels", "error of field", "radius", "error of radius"]
    return numbers([f"level {level}" for level in range(len(rows))], columns, rows)


def _spread(marginal: Tensor, n: int, is_periodic: bool) -> Tensor:
    """The variance of distributions (rows, n) over n sites; on a circle, about the best site or midpoint of sites."""
    sites = torch.arange(n, dtype=marginal.dtype, device=marginal.device)
    if not is_periodic:
        mean = marginal @ sites
        return (marginal * (sites - mean[:, None]).square()).sum(1)
    centres = torch.arange(0, n, 0.5, dtype=marginal.dtype, device=marginal.device)
    distance = (sites - centres[:, None]).abs()
    return (marginal @ torch.minimum(distance, n - distance).square().mT).amin(1)
