"""Univariate distributions of torch, made from a name or a description, and described again."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution

from mera._utils.errors import InputError
from mera.names.calls import parse_call
from mera.names.flow_options import PriorLike
from mera.priors.densities import support_of
from mera.priors.distributions import map_tensors

__all__ = ["PriorLike", "as_distribution", "to_description"]

STANDARD = {"loc": 0.0, "scale": 1.0}
"""Parameters of distributions of torch that a text may leave out."""


def as_distribution(distribution: PriorLike) -> Distribution:
    """The distribution that an argument `prior` stands for, in double precision where torch can evaluate it.

    Args:
        distribution: "gaussian" or "laplace", both of unit variance; the name of a class of torch with its parameters,
            "StudentT(df=5)"; a description, as `to_description` makes it; or a univariate distribution.

    >>> round(as_distribution("laplace").variance.item(), 9)
    1.0
    >>> as_distribution("StudentT(5)")
    StudentT(df: 5.0, loc: 0.0, scale: 1.0)

    Raises:
        ValueError: if the name is unknown, or the distribution is not univariate or has no density.
    """
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    if isinstance(distribution, str) and distribution == "gaussian":
        return distributions.Normal(zero, one, validate_args=False)
    if isinstance(distribution, str) and distribution == "laplace":
        return distributions.Laplace(zero, one / math.sqrt(2), validate_args=False)
    if isinstance(distribution, str):
        return _from_description(_describe(distribution))
    if isinstance(distribution, Mapping):
        return _from_description(distribution)
    if not isinstance(distribution, Distribution):
        raise InputError("'gaussian', 'laplace' or a torch distribution as prior", repr(distribution))
    if distribution.batch_shape or distribution.event_shape:
        raise InputError(
            "a univariate prior, with batch and event shape ()",
            f"{tuple(distribution.batch_shape)} and {tuple(distribution.event_shape)}",
        )
    _check_density(distribution)
    return _in_double(distribution)


def to_description(distribution: Any) -> str | dict[str, Any]:
    """Describe a distribution by a name or a dict that JSON can hold; `as_distribution` makes the distribution again.

    Args:
        distribution: the distribution.

    Returns:
        "gaussian", "laplace", or {"distribution": the name of a class of torch, **parameters}.

    Raises:
        ValueError: if numbers alone do not describe the distribution.
    """
    for name in ("gaussian", "laplace"):
        candidate: Any = as_distribution(name)
        if type(distribution) is type(candidate) and (distribution.loc, distribution.scale) == (
            candidate.loc,
            candidate.scale,
        ):
            return name
    parameters = _parameters(distribution)
    if parameters is None or any(value.ndim for value in parameters.values()):
        kind = type(distribution).__name__
        raise InputError("a prior that plain numbers describe", f"a {kind}, which cannot be saved")
    description = {"distribution": type(distribution).__name__} | {k: value.item() for k, value in parameters.items()}
    _from_description(description)  # the constructors of some classes do not accept all of their parameters
    return description


def _check_density(distribution: Any) -> None:
    """Refuse discrete distributions, and distributions whose parameters are invalid."""
    support = support_of(distribution)
    if support is not None and support.is_discrete:
        raise InputError("a prior with a density", f"{distribution}, which is discrete")
    try:
        constraints = distribution.arg_constraints
    except NotImplementedError:  # a class of the user's own may not declare constraints
        return
    for name, constraint in constraints.items():
        value = getattr(distribution, name)
        if distributions.constraints.is_dependent(constraint):  # on another parameter, as Uniform's high is on its low
            continue
        if isinstance(value, Tensor) and not (constraint.check(value).all() and value.isfinite().all()):
            raise InputError(f"a {name} that is {constraint}", f"{value.tolist()} in the prior {distribution}")


def _in_double(distribution: Any) -> Any:
    """A copy in double precision, in which log p is as exact as its argument is.

    Some classes of torch cannot evaluate their density in double precision; a copy of these is in single precision.
    """
    doubled = _with_dtype(distribution, torch.float64)
    try:
        doubled.log_prob(torch.zeros(1))
    except RuntimeError:
        return _with_dtype(distribution, torch.float32)
    return doubled


def _with_dtype(distribution: Any, dtype: torch.dtype) -> Any:
    """A copy with another dtype: that of all tensors of floats, and of parameters that are tensors of integers."""
    copied = map_tensors(distribution, lambda t: t.detach().to(dtype) if t.is_floating_point() else t.detach().clone())
    for name, value in vars(copied).items():
        if isinstance(value, Tensor) and name in _arg_names(copied) and not value.is_floating_point():
            setattr(copied, name, value.to(dtype))  # as in Normal(torch.tensor(0), torch.tensor(1))
    return copied


def _arg_names(distribution: Any) -> set[str]:
    """The names of a distribution's parameters, as far as its class declares them."""
    try:
        return set(distribution.arg_constraints)
    except NotImplementedError:
        return set()


def _parameters(distribution: Any) -> dict[str, Tensor] | None:
    """The parameters of a distribution of torch, by name; None if they are not all tensors, or the class is another."""
    kind = type(distribution)
    if getattr(distributions, kind.__name__, None) is not kind:
        return None
    parameters = {key: getattr(distribution, key) for key in distribution.arg_constraints}
    return parameters if parameters and all(isinstance(v, Tensor) for v in parameters.values()) else None


def _class_of(name: str) -> Any:
    """The class of distributions that torch has under a name; None if there is none."""
    kind = getattr(distributions, name, None)
    is_class = isinstance(kind, type) and issubclass(kind, Distribution) and kind is not Distribution
    return kind if is_class else None


def _describe(text: str) -> dict[str, Any]:
    """The description that a text such as "StudentT(df=5)" stands for; `loc` and `scale` are 0 and 1 if left out."""
    name, values, options = parse_call(text, "StudentT(df=5)")
    kind = _class_of(name)
    if kind is None:
        raise InputError("'gaussian', 'laplace' or a torch distribution such as StudentT(df=5) as prior", repr(text))
    signature = inspect.signature(kind)
    try:
        given = signature.bind_partial(*values, **options)
    except TypeError as error:
        names = ", ".join(key for key in signature.parameters if key != "validate_args")
        raise InputError(f"parameters {names} of {name}", f"{text!r}: {error}") from None
    required = [key for key, parameter in signature.parameters.items() if parameter.default is inspect.Parameter.empty]
    parameters = {key: STANDARD[key] for key in required if key in STANDARD} | given.arguments
    if missing := [key for key in required if key not in parameters]:
        raise InputError(f"{' and '.join(missing)} of {name}, as in {name}({missing[0]}=...)", repr(text))
    return {"distribution": name, **parameters}


def _from_description(description: Mapping[str, Any]) -> Distribution:
    """The torch distribution that a description stands for; no other class can be made from a description."""
    parameters = dict(description)
    kind = _class_of(str(parameters.pop("distribution", None)))
    if kind is None:
        raise InputError("the description of a torch distribution", str(dict(description)))
    try:
        tensors: dict[str, Any] = {key: torch.tensor(value, dtype=torch.float64) for key, value in parameters.items()}
        return as_distribution(kind(**tensors))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"the parameters of {kind.__name__}", str(parameters)) from error
