"""Factorised priors of the latents, at any temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from mera._utils.distributions import map_tensors
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera._utils.univariate_distributions import PriorLike, as_distribution, support_of, to_description

__all__ = ["Prior", "PriorLike", "as_distribution", "temperature_per_level", "to_description"]


class Prior(nn.Module):
    r""":math:`\log p(z) = \sum_l \log p(z_l)` over all latents l, with p any univariate distribution
    (`RG-Flow <https://arxiv.org/abs/2010.00029>`_, Eq. 6 and 11).

    Outside of the support of p the density is 0, and its logarithm -inf.

    Args:
        distribution: "gaussian" or "laplace", both of unit variance; any univariate `torch.distributions`
            distribution; or a description, as `to_description` makes it.

    Attributes:
        distribution: p, in double precision where torch can evaluate it so.

    Raises:
        ValueError: if the name is unknown, or the distribution is not univariate or has no density.
    """

    def __init__(self, distribution: PriorLike = "laplace") -> None:
        super().__init__()
        self.distribution = as_distribution(distribution)

    def log_prob(self, z: Sequence[Tensor]) -> Tensor:
        """Levels (B, C_h, *sites) to log density (B,), in nats."""
        densities = [self._log_prob(level).flatten(1) for level in z]
        single = torch.promote_types(z[0].dtype, torch.float32)  # of so many terms, half precision loses most
        return torch.stack([density.sum(1, dtype=single) for density in densities]).sum(0)

    def sample(
        self, shapes: Sequence[tuple[int, ...]], temperatures: Sequence[float], like: Tensor
    ) -> tuple[Tensor, ...]:
        """Draw from p^(1/T), normalised (paper, Eq. 12 and 14).

        Args:
            shapes: the shape of each tensor to draw.
            temperatures: T for each tensor.
            like: a tensor of the dtype and device to return.

        Raises:
            ValueError: if a temperature is not positive, or p has no exact sampler at a temperature other than 1.
        """
        distribution = map_tensors(self.distribution, lambda t: t.detach().to(like.device))
        return tuple(
            tempered(distribution, temperature).sample(shape).to(like)
            for shape, temperature in zip(shapes, temperatures, strict=True)
        )

    def quantile(self, temperature: float) -> Callable[[Tensor], Tensor]:
        """The function from u in (0, 1) to the value below which p^(1/T), normalised, has probability u.

        The function takes double precision, on the CPU.

        Raises:
            ValueError: as for `sample`; or if torch has no quantile function of p.
        """
        distribution = tempered(map_tensors(self.distribution, lambda t: t.detach().cpu()), temperature)
        try:
            distribution.icdf(torch.tensor(0.5, dtype=torch.float64))
        except NotImplementedError:
            kind = type(distribution).__name__
            raise InputError("a prior with a quantile function (icdf) in torch", kind) from None
        return distribution.icdf

    def extra_repr(self) -> str:
        """The distribution."""
        try:
            return str(self.distribution)
        except NotImplementedError:  # a class of the user's own may not say what its parameters are
            return type(self.distribution).__name__

    def _log_prob(self, level: Tensor) -> Tensor:
        """log p of each latent; -inf outside of the support, where some of torch's formulas give finite numbers.

        A formula is never evaluated where it does not hold: a NaN in the branch that `where` does not take would spoil
        gradients.
        """
        distribution = self.distribution
        support = support_of(distribution)
        if support is None or support is distributions.constraints.real:
            return distribution.log_prob(level)
        inside = support.check(level)
        log_prob = distribution.log_prob(torch.where(inside, level, self._point_inside))
        return torch.where(inside, log_prob, -math.inf)

    @cached_property
    def _point_inside(self) -> float:
        """A number inside the support."""
        with fixed_seed(0):
            return float(self.distribution.sample())

    def __deepcopy__(self, memo: dict[int, Any]) -> Prior:
        """A prior with tensors of its own; what torch's own copy of some distributions loses is kept."""
        copied = Prior.__new__(Prior)
        copied.__dict__.update(self.__dict__)
        copied.distribution = map_tensors(self.distribution, lambda t: t.detach().clone())
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: a description where numbers describe p, since torch cannot pickle all distributions."""
        state = super().__getstate__()
        try:
            return state | {"distribution": to_description(self.distribution)}
        except ValueError:
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the distribution from its description again."""
        distribution = state["distribution"]
        if not isinstance(distribution, Distribution):
            distribution = as_distribution(distribution)
        super().__setstate__(state | {"distribution": distribution})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Prior:
        """Follow the module to its device. Parameters keep their precision, so that ln p is as exact as z is."""
        super()._apply(fn, recurse)
        scalars_stay = map_tensors(  # a tensor without axes works on every device as it is
            self.distribution, lambda t: fn(t.detach()).to(t.dtype) if t.ndim else t.detach()
        )
        self.distribution = scalars_stay
        return self


def temperature_per_level(temperature: Any, levels: int) -> list[float]:
    """One temperature for each level, finest first, from one number for all or a sequence of numbers.

    Raises:
        ValueError: if there is not one for each level, or one is no positive number.
    """
    values = temperature.tolist() if isinstance(temperature, Tensor) else temperature
    is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
    temperatures = list(values) if is_sequence else [values] * levels
    if len(temperatures) != levels:
        raise InputError(f"one temperature, or one for each of {levels} levels", str(temperature))
    return [_check_temperature(value) for value in temperatures]


def tempered(distribution: Distribution, temperature: float) -> Distribution:
    r""":math:`p^{1/T}`, normalised: exact for the families that are closed under powers.

    The scale of a Gaussian grows by :math:`\sqrt{T}`, that of a Laplacian by T (paper, Eq. 13).

    Raises:
        ValueError: if T is not a positive number, or another family is asked for T other than 1.
    """
    temperature = _check_temperature(temperature)
    if temperature == 1:
        return distribution
    match distribution:
        case distributions.Normal():
            return distributions.Normal(distribution.loc, distribution.scale * math.sqrt(temperature))
        case distributions.Laplace():
            return distributions.Laplace(distribution.loc, distribution.scale * temperature)
        case distributions.Uniform():
            return distribution
    kind = type(distribution).__name__
    raise InputError(f"temperature 1 for a prior of type {kind}, whose powers have no exact sampler", str(temperature))


def _check_temperature(temperature: Any) -> float:
    is_number = isinstance(temperature, Real) and not isinstance(temperature, bool)
    if not is_number or not 0 < temperature < math.inf:
        raise InputError("a positive temperature", repr(temperature))
    return float(temperature)
