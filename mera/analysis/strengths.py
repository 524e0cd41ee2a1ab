"""Strengths of receptive fields: how much the generated data changes with each latent (RG-Flow, Fig. 3c)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count, check_flag
from mera.analysis.alike import Moments, equivalent_sites, pooled
from mera.analysis.latents import LatentIndex
from mera.analysis.tangents import Linearization
from mera.flow import Flow

SAMPLES = {"geometric": 4096, "mean": 64}
"""The default number of samples of each estimate."""
BATCH, VARIABLES = 64, 2**20
"""The largest number of samples in a pass, and of variables in them."""
MEAN_OF_LOG = -(0.5772156649015329 + math.log(2)) / 2
"""The mean of ln |x| for a standard Gaussian x."""
OUTLIER = 1 / 3
"""The relative error of the largest strength of a level from which a warning is given."""


class Strengths(tuple[Tensor, ...]):
    """The strengths of receptive fields, a tensor (C_h, *shape_h) for each level, with standard errors.

    Attributes:
        errors: the standard errors, in the same shapes.
    """

    errors: tuple[Tensor, ...]

    def __new__(cls, norms: Iterable[Tensor], errors: Iterable[Tensor]) -> Strengths:
        """Make a tuple of the strengths that also holds the errors."""
        strengths = super().__new__(cls, tuple(norms))
        strengths.errors = tuple(errors)
        return strengths

    def __reduce__(self) -> tuple[type[Strengths], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Copy and pickle with the errors."""
        return Strengths, (tuple(self), self.errors)

    def __repr__(self) -> str:
        """The largest strength of each level, with its error."""
        largest = [(norms.flatten().argmax(), norms, errors) for norms, errors in zip(self, self.errors, strict=True)]
        texts = [
            f"{'x'.join(map(str, norms.shape))} up to {norms.flatten()[i]:.3g} +- {errors.flatten()[i]:.1g}"
            for i, norms, errors in largest
        ]
        return f"Strengths({', '.join(texts)})"


def strengths(
    flow: Flow,
    samples: int | None = None,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
    levels: Iterable[int] | None = None,
    reduce: str = "geometric",
) -> Strengths:
    r"""The strengths of all receptive fields: Euclidean norms over all variables of the data (Fig. 3c, 14b).

    - "geometric": the geometric mean over samples of the norms, :math:`\exp \mathbb{E}_z \ln \|\partial G / \partial
      z_l\|`. One backward pass gives :math:`g = (\partial G / \partial z)^T v` for all latents at once. For a Gaussian
      v, each :math:`g_l` is Gaussian of deviation :math:`\|\partial G / \partial z_l\|`, so that the mean of
      :math:`\ln |g_l|` is that of the logarithm of the norm, plus :math:`-(\gamma + \ln 2) / 2` with Euler's
      :math:`\gamma`. Samples with steep derivatives hardly change it. Equivalent latents share one mean, unless they
      differ by more than their errors; latents are equivalent if a translation by whole patches maps one to the other,
      so that the same bijectors generate them. An order among them would be chance.
    - "mean": the norm of the mean field, :math:`\|\mathbb{E}_z \, \partial G / \partial z_l\|` (Eq. 8), from exact
      derivatives. A few samples with steep derivatives dominate it.

    Args:
        flow: the flow.
        samples: the number of samples z of the prior; if None, 4,096 for "geometric", 64 for "mean".
        temperature: the temperature of the prior, a number for all levels, or for each level, finest first.
        context: for a conditional flow, a context for each sample (samples, ...), or one context for all samples.
        levels: the levels to compute; all levels if None.
        reduce: the estimate: "geometric" or "mean".

    Returns:
        The strengths of each computed level, (C_h, *shape_h), in the order of `levels`; the attribute `errors` has the
        standard errors.

    Raises:
        ValueError: if an argument is invalid.

    Warns:
        UserWarning: if the error of the largest strength of a level exceeds a third of it.
    """
    number = SAMPLES[check_choice(reduce, SAMPLES, "reduce")] if samples is None else check_count(samples, "samples")
    plan = flow.plan
    selected = list(range(len(plan.latents))) if levels is None else [plan.check_level(level) for level in levels]
    if reduce == "geometric":
        pairs = _geometric(flow, number, temperature, context, selected)
    else:
        pairs = _exact(flow, number, temperature, context, selected)
    for level, (norms, errors) in zip(selected, pairs, strict=True):
        _warn_of_outliers(norms, errors, level, number)
    shapes = [plan.latents[level].lattice.event_shape for level in selected]
    shaped = [[part.view(shape) for part in pair] for pair, shape in zip(pairs, shapes, strict=True)]
    return Strengths([norms for norms, _ in shaped], [errors for _, errors in shaped])


def _geometric(
    flow: Flow, samples: int, temperature: Any, context: Tensor | None, levels: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """For each level the geometric means over samples of the norms, (C, sites), and their errors."""
    groups = [[sites.to(flow.device) for sites in equivalent_sites(flow.plan, level)] for level in levels]
    moments = [[Moments() for _ in of_level] for of_level in groups]
    at_once = max(1, min(BATCH, VARIABLES // flow.plan.input.variables))
    for start in range(0, samples, at_once):
        of_batch = context if context is None or len(context) == 1 else context[start : start + at_once]
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            z = [level.requires_grad_() for level in flow.sample_latents(min(at_once, samples - start), temperature)]
            x = flow.inverse(z, of_batch)[0]
        gradients = torch.autograd.grad(x, [z[level] for level in levels], torch.randn_like(x), materialize_grads=True)
        for gradient, of_level, parts in zip(gradients, groups, moments, strict=True):
            logs = gradient.double().abs().log().flatten(2)
            for sites, part in zip(of_level, parts, strict=True):
                part.add(logs[:, :, sites].mean(3))
    results = []
    for parts, of_level in zip(moments, groups, strict=True):
        log, error = pooled(parts, of_level)
        norms = (log - MEAN_OF_LOG).exp()
        error = (norms * error).nan_to_num(0.0, math.inf)  # a latent without any effect has strength 0
        results.append((norms.to(flow.dtype), error.to(flow.dtype)))
    return results


def _exact(
    flow: Flow, samples: int, temperature: Any, context: Tensor | None, levels: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """For each level the norms of mean fields, (C, sites), and their errors."""
    pass_to_data = Linearization(flow.runner, flow.sample_latents(samples, temperature), context, for_many=True)
    results = []
    for level in levels:
        sites = pass_to_data.wiring.latents[level].flatten(1).unbind(1)
        pairs = [_mean(pass_to_data.fields(addresses)[1]) for addresses in sites]
        norms, errors = (torch.stack(parts, dim=1) for parts in zip(*pairs, strict=True))
        results.append((norms, errors))
    return results


def _mean(fields: Tensor) -> tuple[Tensor, Tensor]:
    """The norms (C,) of the means of fields (C, samples, variables), and their errors."""
    n = fields.shape[1]
    spread = fields.var(1).sum(1) if n > 1 else fields.new_full((len(fields),), math.inf)
    return fields.mean(1).norm(dim=1), (spread / n).sqrt()


def _warn_of_outliers(norms: Tensor, errors: Tensor, level: int, samples: int) -> None:
    """Warn if the largest strength of a level is no more than an outlier."""
    largest = norms.flatten().argmax()
    norm, error = norms.flatten()[largest].item(), errors.flatten()[largest].item()
    if error > OUTLIER * norm:
        warnings.warn(
            f"Expected strengths with small errors; got {norm:.3g} +- {error:.2g} for the strongest latent of level "
            f"{level}: take more than {samples} samples",
            stacklevel=4,
        )


def leading(
    flow: Flow,
    level: int,
    n: int = 8,
    samples: int | None = None,
    temperature: float | Sequence[float] = 1.0,
    context: Tensor | None = None,
    distinct: bool = True,
) -> list[LatentIndex]:
    """The latents of a level with the largest strengths, the strongest first; see `strengths`.

    Args:
        flow: the flow.
        level: the level, 0 for the finest.
        n: the number of latents; all latents of the level if there are fewer.
        samples: the number of samples z of the prior; the default of `strengths` if None.
        temperature: the temperature of the prior, a number for all levels, or for each level, finest first.
        context: for a conditional flow, a context for each sample (samples, ...), or one context for all samples.
        distinct: whether to list, of latents that are equivalent and equally strong, only the one next to the centre.

    Returns:
        The latents as tuples (level, channel, *site).

    Raises:
        ValueError: if the level does not exist, or another argument is invalid.
    """
    (norms,) = strengths(flow, samples, temperature, context, [flow.plan.check_level(level)])
    return strongest(norms, level, n, distinct)


def strongest(norms: Tensor, level: int, n: int, distinct: bool = False) -> list[LatentIndex]:
    """The n latents of a level with the largest strengths (C_h, *shape_h), the largest first, equals in their order.

    Args:
        norms: the strengths.
        level: the level.
        n: the number of latents.
        distinct: whether to list, of latents with equal strengths, only the one next to the centre of the lattice.
    """
    check_count(n, "a number of latents")
    order = norms.flatten().argsort(descending=True, stable=True).cpu()
    places = torch.stack(torch.unravel_index(order, norms.shape), dim=1).tolist()
    if not check_flag(distinct, "distinct"):
        return [(level, *place) for place in places[:n]]
    groups: dict[float, list[list[int]]] = {}
    for place, norm in zip(places, norms.flatten()[order].tolist(), strict=True):
        groups.setdefault(norm, []).append(place)

    def from_centre(place: list[int]) -> float:
        return sum((2 * site - n) ** 2 for site, n in zip(place[1:], norms.shape[1:], strict=True))

    return [(level, *min(group, key=from_centre)) for group in list(groups.values())[:n]]
