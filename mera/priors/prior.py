"""Factorised priors of the latents, at any temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from mera._utils.errors import InputError
from mera.priors.densities import log_density
from mera.priors.distributions import map_tensors
from mera.priors.univariate_distributions import PriorLike, as_distribution, to_description

__all__ = ["Prior", "PriorLike", "as_distribution", "temperature_per_level", "to_description"]


class Prior(nn.Module):
    r"""A factorised prior: all latents are independent and follow one univariate distribution p.

    .. math:: \log p(z) = \sum_l \log p(z_l)

    over all latents :math:`z_l` (RG-Flow, Eq. 6 and 11, https://arxiv.org/abs/2010.00029). Outside of the support of p
    the log-density is -inf.

    Args:
        distribution: p: "gaussian" or "laplace", both of unit variance (torch's own "Laplace" has variance 2); any
            univariate `torch.distributions` distribution with a density, or its name with parameters,
            "StudentT(df=5)"; or a description, as `to_description` makes it.

    Attributes:
        distribution: p, in double precision where torch can evaluate it so.

    Raises:
        ValueError: if the name is unknown, or the distribution is not univariate or has no density.
    """

    def __init__(self, distribution: PriorLike = "laplace") -> None:
        super().__init__()
        self.distribution = as_distribution(distribution)

    def log_prob(self, z: Sequence[Tensor]) -> Tensor:
        """The log-density of latents, (B,), in nats.

        Args:
            z: for each level the latents, (B, C_h, *sites).
        """
        densities = [log_density(self.distribution, level).flatten(1) for level in z]
        single = torch.promote_types(z[0].dtype, torch.float32)  # sums in half precision would lose most digits
        return torch.stack([density.sum(1, dtype=single) for density in densities]).sum(0)

    def sample(
        self, shapes: Sequence[tuple[int, ...]], temperatures: Sequence[float], like: Tensor
    ) -> tuple[Tensor, ...]:
        r"""Draw tensors of latents from :math:`p^{1/T}`, normalised (RG-Flow, Eq. 12 and 14).

        Args:
            shapes: for each tensor its shape.
            temperatures: for each tensor its temperature T.
            like: a tensor with the dtype and the device of the result.

        Raises:
            ValueError: if a temperature is not positive, or p has no exact sampler at a temperature other than 1.
        """
        distribution = map_tensors(self.distribution, lambda t: t.detach().to(like.device))
        return tuple(
            tempered(distribution, temperature).sample(shape).to(like)
            for shape, temperature in zip(shapes, temperatures, strict=True)
        )

    def quantile(self, temperature: float) -> Callable[[Tensor], Tensor]:
        r"""The quantile function (inverse cumulative distribution function) of :math:`p^{1/T}`, normalised.

        Args:
            temperature: T.

        Returns:
            A function from probabilities in (0, 1) to quantiles; both are tensors in double precision on the CPU.

        Raises:
            ValueError: if the temperature is not positive, p has no exact sampler at a temperature other than 1, or
                torch has no quantile function of p.
        """
        distribution = tempered(map_tensors(self.distribution, lambda t: t.detach().cpu()), temperature)
        try:
            distribution.icdf(torch.tensor(0.5, dtype=torch.float64))
        except NotImplementedError:
            kind = type(distribution).__name__
            raise InputError("a prior with a quantile function (icdf) in torch", kind) from None
        return distribution.icdf

    def extra_repr(self) -> str:
        """The distribution as text.

        >>> Prior("laplace"), Prior("StudentT(df=5)")
        (Prior(Laplace of variance 1), Prior(StudentT(df=5, loc=0, scale=1)))
        """
        try:
            description = to_description(self.distribution)
        except (ValueError, NotImplementedError):  # numbers do not describe it
            return type(self.distribution).__name__
        if isinstance(description, str):
            return f"{description.capitalize()} of variance 1"
        parameters = {key: value for key, value in description.items() if key != "distribution"}
        return f"{description['distribution']}({', '.join(f'{key}={value:.6g}' for key, value in parameters.items())})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Prior:
        """A copy with tensors of its own; `copy.deepcopy` of some torch distributions would break them."""
        copied = Prior.__new__(Prior)
        copied.__dict__.update(self.__dict__)
        copied.distribution = map_tensors(self.distribution, lambda t: t.detach().clone())
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: p is stored as a description if possible, since torch cannot pickle all distributions."""
        state = super().__getstate__()
        try:
            return state | {"distribution": to_description(self.distribution)}
        except ValueError:
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the distribution again from its description."""
        distribution = state["distribution"]
        if not isinstance(distribution, Distribution):
            distribution = as_distribution(distribution)
        super().__setstate__(state | {"distribution": distribution})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Prior:
        """Move p to the device of the module; its precision stays, so that log p is as exact as its argument is."""
        super()._apply(fn, recurse)

        def move(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0:  # a tensor without axes can stay where it is: it works with every device
                return tensor.detach()
            return tensor.detach().to(fn(tensor.new_empty(0)).device)

        self.distribution = map_tensors(self.distribution, move)
        return self


def temperature_per_level(temperature: Any, levels: int) -> list[float]:
    """One temperature for each level, finest first.

    Args:
        temperature: one number for all levels, or a sequence with a number for each level, finest first.
        levels: the number of levels.

    Raises:
        ValueError: if there is not one number for each level, or one is not positive.
    """
    values = temperature.tolist() if isinstance(temperature, Tensor) else temperature
    is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
    temperatures = list(values) if is_sequence else [values] * levels
    if len(temperatures) != levels:
        raise InputError(f"one temperature, or one for each of {levels} levels", str(temperature))
    return [_check_temperature(value) for value in temperatures]


def tempered(distribution: Distribution, temperature: float) -> Distribution:
    r"""The distribution :math:`p^{1/T}`, normalised, for families of distributions that are closed under powers.

    The scale of a Gaussian grows by :math:`\sqrt{T}`, that of a Laplacian by :math:`T` (RG-Flow, Eq. 13), and a
    uniform distribution stays as it is.

    Args:
        distribution: p.
        temperature: T.

    Raises:
        ValueError: if T is not a positive number, or T is not 1 and p is of another family.
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
    """Return a temperature as a float, and refuse any value that is not a finite positive number."""
    is_number = isinstance(temperature, Real) and not isinstance(temperature, bool)
    if not is_number or not 0 < temperature < math.inf:
        raise InputError("a positive temperature", repr(temperature))
    return float(temperature)
