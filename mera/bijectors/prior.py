"""Factorised priors of the latents, at any temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution, constraints

from mera._utils.checks import as_plain, check_positive
from mera._utils.errors import InputError
from mera._utils.flow_options import PriorLike
from mera._utils.random import seeded
from mera.bijectors.prior_families import Family, class_of, family_of

HOTTEST = 1e6
"""The highest temperature: samples at far higher temperatures leave the range of numbers."""
CANDIDATES = (0.5, 1.5, -0.5, -1.5, 0.0)
"""Candidates for a point in the support of a distribution."""


class Prior(nn.Module):
    r"""A factorised prior: all latents are independent and follow one univariate distribution p.

    .. math:: \log p(z) = \sum_l \log p(z_l)

    over all latents :math:`z_l` (RG-Flow, Eq. 6 and 11, https://arxiv.org/abs/2010.00029). Outside the support of p the
    log-density is -inf. The parameters are stored as Python numbers, so that converting a flow to another dtype does
    not round them; tensors are made where p is evaluated.

    Args:
        distribution: p: "gaussian" or "laplace", both of unit variance (torch's own "Laplace" has variance 2); a
            univariate `torch.distributions` distribution with a density and numbers as parameters, or its name with
            parameters, "StudentT(df=5)"; or a description from `Prior.describe`.

    Attributes:
        family: the class of p and its parameters by name.
        distribution: p on the CPU, in double precision if torch can evaluate it in double precision.

    Raises:
        ValueError: if the name is unknown, a parameter is invalid, or the distribution is not univariate, has no
            density, or is composed of other distributions, such as a mixture.

    >>> Prior("laplace"), Prior("StudentT(df=5)")
    (Prior(Laplace of variance 1), Prior(StudentT(df=5, loc=0, scale=1)))
    """

    def __init__(self, distribution: PriorLike = "gaussian") -> None:
        super().__init__()
        self.family: Family = family_of(distribution)
        self._dtype = torch.float64
        try:
            self.family.make().log_prob(torch.zeros(1, dtype=torch.float64))
        except RuntimeError:  # torch cannot evaluate some densities in double precision
            self._dtype = torch.float32
        self.distribution: Distribution = self.family.make(self._dtype)
        support = _support_of(self.distribution)
        self._support = None if support is constraints.real else support
        self._inside = 0.0 if self._support is None else _point_inside(self.distribution, support)

    @property
    def support(self) -> tuple[float, float]:
        """The lower and upper bound of the support of p, which may be infinite."""
        support = self._support
        return float(getattr(support, "lower_bound", -math.inf)), float(getattr(support, "upper_bound", math.inf))

    @property
    def has_temperatures(self) -> bool:
        r"""Whether :math:`p^{1/T}` has an exact sampler at each temperature T."""
        return isinstance(self.distribution, (distributions.Normal, distributions.Laplace, distributions.Uniform))

    def log_density(self, z: Tensor) -> Tensor:
        r"""The log-density :math:`\ln p` of each latent, in nats, of the shape of z; -inf outside the support.

        The formula is evaluated at points of the support only: a NaN in the branch that `where` does not take would
        make gradients NaN.

        Args:
            z: latents, of any shape.
        """
        if self._support is None:
            return self.distribution.log_prob(z)
        in_support = self._support.check(z)
        log_prob = self.distribution.log_prob(torch.where(in_support, z, self._inside))
        at_bound = log_prob.isnan() & ~z.isnan()  # of a closed interval, where some formulas are 0 times infinity
        return torch.where(in_support & ~at_bound, log_prob, -math.inf)

    def log_prob(self, z: Sequence[Tensor]) -> Tensor:
        """The log-density of latents, (B,), in nats.

        Args:
            z: the latents of each level, finest first, (B, C_h, *sites).
        """
        densities = [self.log_density(level).flatten(1) for level in z]
        single = torch.promote_types(z[0].dtype, torch.float32)  # sums in half precision are too inaccurate
        return torch.stack([density.sum(1, dtype=single) for density in densities]).sum(0)

    def sample(
        self, shapes: Sequence[tuple[int, ...]], temperatures: Sequence[float], like: Tensor
    ) -> tuple[Tensor, ...]:
        r"""Draw tensors of latents from :math:`p^{1/T}`, normalised (RG-Flow, Eq. 12 and 14).

        Args:
            shapes: the shape of each tensor.
            temperatures: the temperature T of each tensor.
            like: a tensor with the dtype and the device of the result.

        Raises:
            ValueError: if a temperature is not positive, or p has no exact sampler at a temperature other than 1.
        """
        distribution = self.family.make(self._dtype, like.device)
        return tuple(
            _below(self.support[1], tempered(distribution, temperature).sample(torch.Size(shape)).to(like))
            for shape, temperature in zip(shapes, temperatures, strict=True)
        )

    def quantile(self, temperature: float) -> Callable[[Tensor], Tensor]:
        r"""The quantile function (inverse cumulative distribution function) of :math:`p^{1/T}`, normalised.

        Args:
            temperature: the temperature T.

        Returns:
            A function from probabilities in (0, 1) to quantiles, tensors in double precision on the CPU.

        Raises:
            ValueError: if the temperature is not positive, p has no exact sampler at a temperature other than 1, or
                torch has no quantile function of p.
        """
        distribution = tempered(self.distribution, temperature)
        try:
            distribution.icdf(torch.tensor(0.5, dtype=torch.float64))
        except NotImplementedError:
            kind = type(distribution).__name__
            raise InputError("a prior with a quantile function (icdf) in torch", kind) from None
        return distribution.icdf

    def describe(self) -> str | dict[str, Any]:
        """A JSON-compatible description, from which `Prior` makes the same prior again.

        Raises:
            ValueError: if p is of a user-defined class, which a file cannot name.
        """
        if self.family.name:
            return self.family.name
        kind = self.family.kind
        if class_of(kind.__name__) is not kind:
            raise InputError("a prior of a class of torch", f"a {kind.__name__}, which cannot be saved")
        return {"distribution": kind.__name__} | self.family.parameters

    def extra_repr(self) -> str:
        """The distribution as text."""
        if self.family.name:
            return f"{self.family.name.capitalize()} of variance 1"
        values = (f"{name}={value:.6g}" for name, value in self.family.parameters.items())
        return f"{self.family.kind.__name__}({', '.join(values)})"


def temperature_per_level(temperature: Any, levels: int) -> list[float]:
    """Expand a temperature to a list with a number for each level, finest first.

    Args:
        temperature: a positive number for all levels, or a sequence with a number for each level, finest first.
        levels: the number of levels.

    Raises:
        ValueError: if the sequence does not have a number for each level, or a temperature is not positive.
    """
    values = as_plain(temperature, "temperatures")
    is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
    temperatures = list(values) if is_sequence else [values] * levels
    if len(temperatures) != levels:
        raise InputError(f"one temperature, or one for each of {levels} levels", str(temperature))
    return [check_positive(value, "a temperature", most=HOTTEST) for value in temperatures]


def tempered(distribution: Distribution, temperature: float) -> Distribution:
    r"""The distribution :math:`p^{1/T}`, normalised, for families of distributions that are closed under powers.

    The scale of a Gaussian is multiplied by :math:`\sqrt{T}`, the scale of a Laplacian by :math:`T` (RG-Flow, Eq. 13),
    and a uniform distribution does not change. Other families are refused unless T is 1.
    """
    temperature = check_positive(temperature, "a temperature", most=HOTTEST)
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


def _support_of(distribution: Distribution) -> Any:
    """The support of a distribution; all real numbers if its class does not declare a support."""
    if isinstance(distribution, distributions.VonMises):  # angles, but torch declares real numbers
        return constraints.interval(-math.pi, math.pi)
    try:
        return distribution.support
    except NotImplementedError:
        return constraints.real


def _point_inside(distribution: Distribution, support: Any) -> float:
    """A number in the support of a distribution: a candidate, or else a sample."""
    for candidate in CANDIDATES:
        if support.check(torch.tensor(candidate)):
            return candidate
    with seeded(0):
        return distribution.sample().item()


def _below(bound: float, samples: Tensor) -> Tensor:
    """Samples below the upper bound of the support, onto which conversion may have rounded them."""
    if bound == math.inf:
        return samples
    return torch.minimum(samples, torch.nextafter(samples.new_tensor(bound), samples.new_tensor(-torch.inf)))
