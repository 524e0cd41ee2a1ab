"""Families of univariate distributions, from a name, a description or a torch distribution."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import distributions
from torch.distributions import Distribution, constraints

from mera._utils.errors import InputError, closest
from mera._utils.flow_options import PriorLike
from mera._utils.registry import parse_call

STANDARD = {"loc": 0.0, "scale": 1.0}
"""Default values of parameters that the text form of a torch distribution may omit."""
EXPECTED = "'gaussian', 'laplace' or a torch distribution such as StudentT(df=5) as prior"


class Family(NamedTuple):
    """A class of univariate distributions with the values of its parameters, by name."""

    kind: type[Distribution]
    parameters: dict[str, float]

    @property
    def name(self) -> str:
        """The name "gaussian" or "laplace" of the family; "" for any other family."""
        return next((name for name, family in NAMED.items() if family == self), "")

    def make(self, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Distribution:
        """Make the torch distribution without argument validation, so that values outside the support are allowed."""
        tensors: Any = {key: torch.tensor(value, dtype=dtype, device=device) for key, value in self.parameters.items()}
        return self.kind(**tensors, validate_args=False)


NAMED = {
    "gaussian": Family(distributions.Normal, {"loc": 0.0, "scale": 1.0}),
    "laplace": Family(distributions.Laplace, {"loc": 0.0, "scale": 1 / math.sqrt(2)}),
}
"""Families of unit variance; torch's own "Laplace" has variance 2."""


def family_of(prior: PriorLike) -> Family:
    """The family of an argument `prior`, which has one of the forms that `Prior` accepts.

    Raises:
        ValueError: if the name is unknown, a parameter is invalid, or the distribution is not univariate, has no
            density, or is composed of other distributions, such as a mixture.

    >>> family_of("StudentT(5)").parameters
    {'df': 5.0, 'loc': 0.0, 'scale': 1.0}
    """
    if isinstance(prior, str) and prior in NAMED:
        return NAMED[prior]
    if isinstance(prior, str):
        prior = _parse(prior)
    if isinstance(prior, Mapping):
        prior = _from_description(prior)
    if not isinstance(prior, Distribution):
        raise InputError("'gaussian', 'laplace' or a torch distribution as prior", repr(prior))
    return _family_of_distribution(prior)


def _family_of_distribution(distribution: Any) -> Family:
    """The family of a torch distribution, or of a distribution of a user-defined class."""
    kind = type(distribution)
    if distribution.batch_shape or distribution.event_shape:
        raise InputError(
            "a univariate prior, with batch and event shape ()",
            f"{tuple(distribution.batch_shape)} and {tuple(distribution.event_shape)}",
        )
    declared = _declared(distribution, "arg_constraints") or {}
    names = set(inspect.signature(kind).parameters)
    if any(parameter not in names | {"logits"} for parameter in declared) or kind in _COMPOSED:
        raise InputError(
            "a prior that is made of numbers",
            f"a {kind.__name__}, which is made of other distributions: a bijector in front of a plain prior, such as "
            '"pointwise-spline", can make such a density',
        )
    parameters = {}
    for name in [name for name in declared if name != "logits" or "probs" not in declared]:
        value, constraint = torch.as_tensor(getattr(distribution, name)).double(), declared[name]
        if not (constraints.is_dependent(constraint) or (constraint.check(value) and value.isfinite())):
            raise InputError(f"a {name} that is {constraint}", f"{value.tolist()} in the prior {distribution}")
        parameters[name] = value.item()
    support = _declared(distribution, "support")
    if support is not None and support.is_discrete:
        raise InputError("a prior with a density", f"{distribution}, which is discrete")
    family = Family(kind, parameters)
    try:
        family.make()
    except (TypeError, ValueError) as error:  # the constructor needs more than the declared parameters
        raise InputError(f"a prior that {', '.join(parameters)} describe", f"a {kind.__name__}: {error}") from None
    if class_of(kind.__name__) is not kind:  # a user-defined class may not declare all parameters
        points = torch.linspace(-2.75, 2.75, 12)
        points = points if support is None else points[support.check(points)]
        if not torch.allclose(family.make().log_prob(points), distribution.log_prob(points), 1e-4, 1e-4):
            raise InputError("a prior whose class declares its parameters in arg_constraints", f"a {kind.__name__}")
    return family


_COMPOSED = (distributions.TransformedDistribution, distributions.MixtureSameFamily, distributions.Independent)


def _declared(distribution: Any, name: str) -> Any:
    """An attribute of a distribution; None if a user-defined class does not declare it."""
    try:
        return getattr(distribution, name)
    except NotImplementedError:
        return None


def class_of(name: str) -> Any:
    """The torch distribution class with a name; None if there is no such class."""
    kind = getattr(distributions, name, None)
    is_class = isinstance(kind, type) and issubclass(kind, Distribution) and kind is not Distribution
    return kind if is_class else None


def _parse(text: str) -> dict[str, Any]:
    """Parse a text such as "StudentT(df=5)" into a description; `loc` and `scale` default to 0 and 1."""
    name, values, options = parse_call(text, "StudentT(df=5)")
    kind = class_of(name)
    if kind is None:
        raise InputError(EXPECTED, f"{text!r}{closest(name, [*NAMED, *distributions.__all__])}")
    signature = inspect.signature(kind)
    try:
        passed = signature.bind_partial(*values, **options).arguments
    except TypeError as error:
        names = ", ".join(key for key in signature.parameters if key != "validate_args")
        raise InputError(f"parameters {names} of {name}", f"{text!r}: {error}") from None
    return {"distribution": name} | {key: STANDARD[key] for key in signature.parameters if key in STANDARD} | passed


def _from_description(description: Mapping[str, Any]) -> Distribution:
    """Make the distribution of a description, which can only name a torch class."""
    parameters = dict(description)
    kind = class_of(str(parameters.pop("distribution", None)))
    if kind is None:
        raise InputError("the description of a torch distribution", str(dict(description)))
    try:
        tensors: dict[str, Any] = {key: torch.tensor(value, dtype=torch.float64) for key, value in parameters.items()}
        return kind(**tensors)
    except (TypeError, ValueError, AttributeError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"the parameters of {kind.__name__}", f"{parameters}: {error}") from error
