"""Receptive fields of latents, how generated data changes with them (RG-Flow, Eq. 8), and their strengths (Fig. 3c)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mera._utils.checks import as_plain, check_count, check_type
from mera._utils.table import Table, Tabled
from mera.analysis.latents import LatentIndex, check_latent
from mera.flow.flow import Flow
from mera.graph import Plan

MAX_DERIVATIVES = 2**25
"""The largest number of derivatives that are kept at once."""
MAX_VARIABLES = 2**18
"""The largest number of variables of the data in one pass."""
SAMPLES = 4096
"""The default number of samples."""
BATCH, VARIABLES = 64, 2**20
"""The largest number of samples in a pass, and of variables in them."""
MEAN_OF_LOG = -(0.5772156649015329 + math.log(2)) / 2
"""The mean of ln |x| for a standard Gaussian x."""
MAX_RELATIVE_ERROR = 1 / 3
"""The relative error of the largest strength of a level from which a warning is given."""


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
        latents: the latents, (level, channel, *site) each.
        samples: the number of samples z of the prior over which the mean is taken.
        temperature: the temperature of the prior, a number for all levels, or for each level, finest first.
        context: for a conditional flow, a context for each sample (samples, ...), or one context for all samples.
        median: whether to take the median over the samples in place of the mean, which can depend on single samples: in
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
    check_type(flow, Flow, "a Flow")
    indices = [check_latent(flow.plan, latent) for latent in as_plain(latents)]
    z = flow.sample_latents(check_count(samples, "samples"), temperature)
    at_once = max(1, MAX_DERIVATIVES // (samples * flow.plan.input.variables))
    fields = [z[0].new_empty(0, flow.plan.input.variables)]
    for start in range(0, len(indices), at_once):
        of_samples = derivatives(flow, indices[start : start + at_once], z, context)
        fields.append(of_samples.median(1).values if median else of_samples.mean(1))
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
            part_context = None if context is None else (context if len(context) == 1 else context[rows]).clone()
            x = flow.inverse(part, part_context)[0]
            v = torch.zeros_like(x, requires_grad=True)
            products = torch.autograd.grad(x, part, v, create_graph=True)
            sums = [product.sum(0) for product in products]
            along = [sums[level][tuple(place)] for level, *place in latents]
        parts.append(torch.stack([torch.autograd.grad(one, v, retain_graph=True)[0].flatten(1) for one in along]))
    return torch.cat(parts, dim=1)


class Strengths(Tabled, tuple[Tensor, ...]):
    """The strengths of receptive fields, a tensor (C_h, *shape_h) for each level, with standard errors.

    Attributes:
        errors: the standard errors, in the same shapes.
        levels: the number of each level.
    """

    errors: tuple[Tensor, ...]
    levels: tuple[int, ...]

    @property
    def table(self) -> Table:
        """The median and the largest strength of each level, and the share of all strength of the strongest tenth."""
        rows = []
        for level, norms, errors in zip(self.levels, self, self.errors, strict=True):
            values = norms.flatten().sort(descending=True).values
            tenth = values[: max(1, round(len(values) / 10))].sum() / values.sum()
            found = norms.median(), values[0], errors.flatten()[norms.argmax()], tenth
            rows.append([f"level {level}", *map(float, found)])
        return Table(["", "median strength", "largest", "error of largest", "top tenth"], rows)


def strengths(
    flow: Flow,
    samples: int = SAMPLES,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
    levels: Iterable[int] | None = None,
) -> Strengths:
    r"""The strengths of all receptive fields: Euclidean norms over all variables of the data (Fig. 3c, 14b).

    A strength is the geometric mean over samples of the norms, :math:`\exp \mathbb{E}_z \ln \|\partial G / \partial
    z_l\|`. One backward pass gives :math:`g = (\partial G / \partial z)^T v` for all latents at once. For a Gaussian v,
    each :math:`g_l` is Gaussian of deviation :math:`\|\partial G / \partial z_l\|`, so that the mean of :math:`\ln
    |g_l|` is that of the logarithm of the norm, plus :math:`-(\gamma + \ln 2) / 2` with Euler's :math:`\gamma`. Samples
    with steep derivatives hardly change it. Latents that a translation by whole patches maps to each other share one
    mean, since the same bijectors generate them. Where borders make them differ, their errors include the differences.

    Args:
        samples: the number of samples z of the prior.
        temperature: the temperature of the prior, a number for all levels, or for each level, finest first.
        context: for a conditional flow, a context for each sample (samples, ...), or one context for all samples.
        levels: the levels to compute; all levels if None.

    Returns:
        The strengths of each computed level, (C_h, *shape_h), in the order of `levels`; the attribute `errors` has the
        standard errors.

    Warns:
        UserWarning: if the error of the largest strength of a level exceeds a third of it.
    """
    check_type(flow, Flow, "a Flow")
    check_count(samples, "samples")
    plan = flow.plan
    selected = list(range(len(plan.latents))) if levels is None else [plan.check_level(level) for level in levels]
    groups = [equivalent_sites(plan, level).to(flow.device) for level in selected]
    sums: list[list[list[Tensor]]] = [[] for _ in selected]
    at_once = max(1, min(BATCH, VARIABLES // plan.input.variables))
    for start in range(0, samples, at_once):
        batch_context = context if context is None or len(context) == 1 else context[start : start + at_once]
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            z = [level.requires_grad_() for level in flow.sample_latents(min(at_once, samples - start), temperature)]
            x = flow.inverse(z, batch_context)[0]
        gradients = torch.autograd.grad(
            x, [z[level] for level in selected], torch.randn_like(x), materialize_grads=True
        )
        for gradient, sites, parts in zip(gradients, groups, sums, strict=True):
            logs = gradient.double().abs().log().flatten(2)[:, :, sites]
            parts.append([logs.sum(0), logs.square().sum(0), logs.mean(3).square().sum(0)])
    results: list[tuple[Tensor, Tensor]] = []  # strengths and their errors
    for level, sites, parts in zip(selected, groups, sums, strict=True):
        site_mean, square, square_of_group = (torch.stack(part).sum(0) / samples for part in zip(*parts, strict=True))
        mean = site_mean.mean(2)
        norms, freedom = (mean - MEAN_OF_LOG).exp(), samples - 1 if samples > 1 else math.nan
        variance = (square_of_group - mean.square()).clamp(min=0) / freedom
        excess = (site_mean - mean[..., None]).square() - (square - site_mean.square()).clamp(min=0) / freedom
        error = norms * (variance + excess.mean(2).clamp(min=0)).sqrt()
        error = error.nan_to_num(math.inf) if samples == 1 else error.nan_to_num(0.0)  # a latent without effect
        group = sites.flatten().argsort() // sites.shape[1]
        shape = plan.latents[level].lattice.event_shape
        results.append((norms[:, group].view(shape).to(flow.dtype), error[:, group].view(shape).to(flow.dtype)))
        top, top_error = (part.flatten()[results[-1][0].argmax()].item() for part in results[-1])
        if top_error > MAX_RELATIVE_ERROR * top:
            warnings.warn(
                f"Expected strengths with small errors; got {top:.3g} +- {top_error:.2g} for the strongest latent of "
                f"level {level}: take more than {samples} samples",
                stacklevel=2,
            )
    strengths = Strengths(norms for norms, _ in results)
    strengths.errors, strengths.levels = tuple(errors for _, errors in results), tuple(selected)
    return strengths


def equivalent_sites(plan: Plan, level: int) -> Tensor:
    """The sites of a level in groups that translations by whole patches map to each other, (groups, members).

    The translations are those of the patches of all steps between the data and the level.
    """
    lattice = plan.latents[level].lattice
    makers = {target: step for step in plan.steps for target in step.targets}
    periods = [1] * lattice.dim
    value = plan.latents[level].value
    while value in makers:
        step = makers[value]
        if step.module:
            for d, (n, stride) in enumerate(zip(step.apply.lattice.shape, step.apply.stride, strict=True)):
                cell = n // lattice.shape[d]  # sites of the lattice of the step in a site of the level
                periods[d] = math.lcm(periods[d], stride // math.gcd(stride, cell))
        value = step.source
    periods = [period if n % period == 0 else n for period, n in zip(periods, lattice.shape, strict=True)]
    blocks = [length for period, n in zip(periods, lattice.shape, strict=True) for length in (n // period, period)]
    sites = torch.arange(lattice.sites).view(blocks)
    return sites.permute(*range(1, len(blocks), 2), *range(0, len(blocks), 2)).reshape(math.prod(periods), -1)


def leading(
    flow: Flow,
    level: int,
    n: int = 8,
    samples: int = SAMPLES,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
) -> list[LatentIndex]:
    """The n latents (level, channel, *site) of a level with the largest `strengths`, the strongest first.

    Of latents that are equivalent and equally strong, only the one next to the centre of the lattice is listed.
    """
    check_type(flow, Flow, "a Flow")
    (norms,) = strengths(flow, samples, temperature, context, [flow.plan.check_level(level)])
    return strongest(norms, level, n)


def strongest(norms: Tensor, level: int, n: int) -> list[LatentIndex]:
    """The n latents of a level with the largest strengths (C_h, *shape_h), the largest first; see `leading`."""
    check_count(n, "a number of latents")
    order = norms.flatten().argsort(descending=True, stable=True).cpu()
    places = torch.stack(torch.unravel_index(order, norms.shape), dim=1).tolist()
    groups: dict[float, list[list[int]]] = {}
    for place, norm in zip(places, norms.flatten()[order].tolist(), strict=True):
        groups.setdefault(norm, []).append(place)

    def from_centre(place: list[int]) -> float:
        return sum((2 * site - n) ** 2 for site, n in zip(place[1:], norms.shape[1:], strict=True))

    return [(level, *min(group, key=from_centre)) for group in list(groups.values())[:n]]
