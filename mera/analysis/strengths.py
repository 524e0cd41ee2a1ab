"""Strengths of receptive fields: how much the generated data changes with each latent (RG-Flow, Fig. 3c)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.table import Numbers, Tabled, numbers
from mera.analysis.latents import LatentIndex
from mera.flow.flow import Flow
from mera.graph import Plan

SAMPLES = 4096
"""The default number of samples."""
BATCH, VARIABLES = 64, 2**20
"""The largest number of samples in a pass, and of variables in them."""
MEAN_OF_LOG = -(0.5772156649015329 + math.log(2)) / 2
"""The mean of ln |x| for a standard Gaussian x."""
MAX_RELATIVE_ERROR = 1 / 3
"""The relative error of the largest strength of a level from which a warning is given."""


class Strengths(Tabled, tuple[Tensor, ...]):
    """The strengths of receptive fields, a tensor (C_h, *shape_h) for each level, with standard errors.

    Attributes:
        errors: the standard errors, in the same shapes.
        levels: the number of each level.
    """

    errors: tuple[Tensor, ...]
    levels: tuple[int, ...]

    def __new__(cls, norms: Iterable[Tensor], errors: Iterable[Tensor], levels: Iterable[int]) -> Strengths:
        """Make a tuple of the strengths that also holds the errors."""
        strengths = super().__new__(cls, tuple(norms))
        strengths.errors, strengths.levels = tuple(errors), tuple(levels)
        return strengths

    def __reduce__(self) -> tuple[type[Strengths], tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[int, ...]]]:
        """Copy and pickle with the errors."""
        return Strengths, (tuple(self), self.errors, self.levels)

    @property
    def table(self) -> Numbers:
        """The median and the largest strength of each level, and the share of all strength of the strongest tenth."""
        rows = []
        for norms, errors in zip(self, self.errors, strict=True):
            values = norms.flatten().sort(descending=True).values
            tenth = values[: max(1, round(len(values) / 10))].sum() / values.sum()
            rows.append([norms.median(), values[0], errors.flatten()[norms.argmax()], tenth])
        columns = ["median strength", "largest", "error of largest", "top tenth"]
        return numbers([f"level {level}" for level in self.levels], columns, torch.tensor(rows).tolist())


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
        flow: the flow.
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
    results: list[tuple[Tensor, Tensor]] = []
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
    return Strengths([norms for norms, _ in results], [errors for _, errors in results], selected)


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
    """The latents of a level with the largest strengths, the strongest first; see `strengths`.

    Of latents that are equivalent and equally strong, only the one next to the centre of the lattice is listed.

    Args:
        flow: the flow.
        level: the level, 0 for the finest.
        n: the number of latents; all latents of the level if there are fewer.
        samples: as in `strengths`, and so are `temperature` and `context`.

    Returns:
        The latents as tuples (level, channel, *site).
    """
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
