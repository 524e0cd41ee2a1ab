"""Factorised priors of the latents, at any temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from mera._utils.checks import as_plain, check_number, check_positive, is_list
from mera._utils.errors import InputError, closest
from mera._utils.flow_options import PriorLike
from mera._utils.registry import parse_call

HOTTEST = 1e6
"""The highest temperature: samples at far higher temperatures leave the range of numbers."""
FAMILIES = {
    "Normal": ("loc", "scale"),
    "Laplace": ("loc", "scale"),
    "StudentT": ("df", "loc", "scale"),
    "Uniform": ("low", "high"),
    "VonMises": ("loc", "concentration"),
}
"""The families of distributions, by the names of torch, with their parameters."""
STANDARD = {"loc": 0.0, "scale": 1.0}
"""The values of parameters that may be left out."""
NAMED = {"gaussian": "Normal", "laplace": f"Laplace(scale={1 / math.sqrt(2)!r})"}
"""The priors of unit variance; torch's own "Laplace" has variance 2."""
EXPECTED = f"'gaussian', 'laplace', or one of {', '.join(FAMILIES)} with parameters, such as StudentT(df=5), as prior"


class Prior(nn.Module):
    r"""A factorised prior: all latents are independent and follow one univariate distribution p.

    .. math:: \log p(z) = \sum_l \log p(z_l)

    over all latents :math:`z_l` (RG-Flow, Eq. 6 and 11, https://arxiv.org/abs/2010.00029). p is one of

    - Normal(loc, scale): :math:`\ln p = -x^2 / 2 + c` with :math:`x = (z - \mathrm{loc}) / \mathrm{scale}`;
    - Laplace(loc, scale): :math:`\ln p = -|x| + c`;
    - StudentT(df, loc, scale): :math:`\ln p = -\frac{df + 1}{2} \ln(1 + x^2 / df) + c`;
    - Uniform(low, high): constant on [low, high);
    - VonMises(loc, concentration): :math:`\ln p = \mathrm{concentration} \cos(z - \mathrm{loc}) + c` for angles in
      [-pi, pi).

    Outside the support of p the log-density is -inf. The parameters are stored as Python numbers, so that converting a
    flow to another dtype does not round them; tensors are made where p is evaluated.

    Args:
        distribution: p: "gaussian" or "laplace", both of unit variance; a name with parameters, "StudentT(df=5)", a
            `torch.distributions` distribution of these families.

    Attributes:
        family: the name of the family in torch.
        values: the values of the parameters by name.
        distribution: p on the CPU, in double precision.

    >>> Prior("laplace"), Prior("StudentT(df=5)")
    (Prior(laplace), Prior(StudentT(df=5.0, loc=0.0, scale=1.0)))
    """

    def __init__(self, distribution: PriorLike = "gaussian") -> None:
        super().__init__()
        self.family, self.values = _family_and_parameters(distribution)
        self.distribution = _make(self.family, self.values)

    @property
    def support(self) -> tuple[float, float]:
        """The lower and upper bound of the support of p, which may be infinite."""
        if self.family == "VonMises":
            return -math.pi, math.pi
        return self.values.get("low", -math.inf), self.values.get("high", math.inf)

    @property
    def of_angles(self) -> bool:
        """Return whether the support is that of angles, [-pi, pi)."""
        return max(abs(self.support[0] + math.pi), abs(self.support[1] - math.pi)) < 1e-6

    def log_density(self, z: Tensor) -> Tensor:
        r"""The log-density :math:`\ln p` of each latent, in nats, of the shape of z; -inf outside the support.

        Args:
            z: latents, of any shape.
        """
        low, high = self.support
        if low == -math.inf:
            return self.distribution.log_prob(z)
        inside = (z >= low) & (z <= high)  # elsewhere gradients of the formula may be NaN
        log_density = self.distribution.log_prob(torch.where(inside, z, (low + high) / 2))
        return torch.where(inside, log_density.to(z), -math.inf)  # Uniform of torch returns CPU tensors

    def log_prob(self, z: Sequence[Tensor]) -> Tensor:
        """The log-density of latents, (B,), in nats.

        Args:
            z: the latents of each level, finest first, (B, C_h, *sites).
        """
        densities = self.log_density(torch.cat([level.flatten(1) for level in z], dim=1))
        return densities.sum(1, dtype=torch.promote_types(densities.dtype, torch.float32))  # not in half precision

    def sample(
        self, shapes: Sequence[tuple[int, ...]], temperatures: Sequence[float], like: Tensor
    ) -> tuple[Tensor, ...]:
        r"""Draw tensors of latents from :math:`p^{1/T}`, normalised (RG-Flow, Eq. 12 and 14).

        Args:
            shapes: the shape of each tensor.
            temperatures: the temperature T of each tensor, at which :math:`p^{1/T}` must have a norm.
            like: a tensor with the dtype and the device of the result.
        """
        samples = [
            self._tempered(temperature, like.device).sample(torch.Size(shape)).to(like)
            for shape, temperature in zip(shapes, temperatures, strict=True)
        ]
        if self.support[1] < math.inf:  # rounding may have reached the bound
            last = torch.nextafter(like.new_tensor(self.support[1]), like.new_tensor(-math.inf))
            samples = [x.minimum(last) for x in samples]
        return tuple(samples)

    def quantile(self, temperature: float) -> Callable[[Tensor], Tensor]:
        r"""The quantile function (inverse cumulative distribution function) of :math:`p^{1/T}`, normalised.

        Args:
            temperature: the temperature T.

        Returns:
            A function from probabilities in (0, 1) to quantiles, tensors in double precision on the CPU; torch has none
            for Student's t and the von Mises distribution, which are refused.
        """
        if self.family in ("StudentT", "VonMises"):
            raise InputError("a prior with a quantile function (icdf) in torch", self.family)
        return self._tempered(temperature, torch.device("cpu")).icdf

    def _tempered(self, temperature: float, device: torch.device) -> Distribution:
        r"""The distribution :math:`p^{1/T}`, normalised, which is of the same family.

        The scale of a Gaussian is multiplied by :math:`\sqrt{T}`, the scale of a Laplacian by :math:`T` (RG-Flow,
        Eq. 13); a uniform distribution does not change; a concentration is divided by T; and for Student's t
        :math:`df' + 1 = (df + 1) / T` with the same :math:`df \, \mathrm{scale}^2`.
        """
        t, changed = check_positive(temperature, "a temperature", most=HOTTEST), dict(self.values)
        match self.family:
            case "Normal":
                changed["scale"] *= math.sqrt(t)
            case "Laplace":
                changed["scale"] *= t
            case "VonMises":
                changed["concentration"] /= t
            case "StudentT":
                changed["df"] = (changed["df"] + 1) / t - 1
                if changed["df"] <= 0:
                    limit = self.values["df"] + 1
                    raise InputError(f"a temperature below {limit:g}, where p^(1/T) has a norm", str(temperature))
                changed["scale"] *= math.sqrt(self.values["df"] / changed["df"])
        return _make(self.family, changed, device)

    def describe(self) -> str:
        """The distribution as text, from which `Prior` makes the same prior again."""
        mine = self.family, self.values
        text = f"{self.family}({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"
        return next((name for name, named in NAMED.items() if _family_and_parameters(named) == mine), text)

    extra_repr = describe


def temperature_per_level(temperature: Any, levels: int) -> list[float]:
    """Expand a temperature, a number for all levels or a number for each, to a list of numbers, finest level first."""
    values = as_plain(temperature)
    temperatures = list(values) if is_list(values) else [values] * levels
    if len(temperatures) != levels:
        raise InputError(f"one temperature, or one for each of {levels} levels", str(temperature))
    return [check_positive(value, "a temperature", most=HOTTEST) for value in temperatures]


def _make(family: str, parameters: dict[str, float], device: torch.device | str = "cpu") -> Distribution:
    """Make the torch distribution without argument validation, so that values outside the support are allowed."""
    tensors = {key: torch.tensor(value, dtype=torch.float64, device=device) for key, value in parameters.items()}
    return getattr(distributions, family)(**tensors, validate_args=False)


def _family_and_parameters(prior: PriorLike) -> tuple[str, dict[str, float]]:
    """The family and all parameters of an argument `prior`, which has one of the forms that `Prior` accepts."""
    options: dict[str, Any]
    if isinstance(prior, str):
        family, values, options = parse_call(NAMED.get(prior, prior), "StudentT(df=5)")
        names = FAMILIES.get(family, ())
        if family in FAMILIES and (len(values) > len(names) or options.keys() & names[: len(values)]):
            raise InputError(f"parameters {', '.join(names)} of {family}, once each", repr(prior))
        options = dict(zip(names, values, strict=False)) | options
    else:
        family = next((name for name in FAMILIES if type(prior) is getattr(distributions, name)), "")
        options = {name: as_plain(getattr(prior, name)) for name in FAMILIES.get(family, ())}
    if family not in FAMILIES:
        raise InputError(EXPECTED, f"{prior!r}{closest(family, [*NAMED, *FAMILIES])}")
    if set(options | STANDARD) - set(STANDARD) != set(FAMILIES[family]) - set(STANDARD):
        raise InputError(f"parameters {', '.join(FAMILIES[family])} of {family}", ", ".join(options) or "none")
    parameters = {name: check_number((STANDARD | options)[name], name) for name in FAMILIES[family]}
    for name in {"scale", "df", "concentration"} & parameters.keys():
        check_positive(parameters[name], name)
    if family == "Uniform" and parameters["low"] >= parameters["high"]:
        raise InputError("low below high", f"{parameters['low']:g} and {parameters['high']:g}")
    return family, parameters
