"""Factorised priors of the latents, at any temperature."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, distributions, nn

__all__ = ["Prior", "PriorLike", "describe", "named"]

PriorLike = str | Mapping[str, Any] | distributions.Distribution
"""What a user may pass for a prior; see `Prior`."""


class Prior(nn.Module):
    r"""log p(z) = sum of log p(z_l) over all latents l (paper, Eq. 6 and 11), p any univariate distribution.

    Args:
        distribution: "gaussian" or "laplace", both of unit variance; any univariate `torch.distributions`
            distribution; or what `describe` made of one.

    Raises:
        ValueError: if the name is unknown or the distribution is not univariate.
    """

    def __init__(self, distribution: PriorLike = "laplace") -> None:
        super().__init__()
        self.distribution = named(distribution)

    def log_prob(self, z: Sequence[Tensor]) -> Tensor:
        """Levels (B, C_h, *sites) -> log density (B,), in nats."""
        densities = [self.distribution.log_prob(level).flatten(1) for level in z]
        single = torch.promote_types(z[0].dtype, torch.float32)  # of so many terms, half precision loses most
        return torch.stack([density.sum(1, dtype=single) for density in densities]).sum(0)

    def sample(
        self, shapes: Sequence[tuple[int, ...]], temperatures: Sequence[float], like: Tensor
    ) -> tuple[Tensor, ...]:
        """One tensor a shape, drawn from p^(1/T) normalised (paper, Eq. 12 and 14), with dtype and device of `like`.

        Raises:
            ValueError: if a temperature is not positive, or p has no exact sampler at a temperature other than 1.
        """
        distribution = _map(self.distribution, lambda t: t.to(like.device))
        return tuple(
            tempered(distribution, temperature).sample(shape).to(like)
            for shape, temperature in zip(shapes, temperatures, strict=True)
        )

    def quantile(self, temperature: float) -> Callable[[Tensor], Tensor]:
        """The function from u in (0, 1) to the value below which p^(1/T), normalised, has probability u.

        It takes double precision, on the CPU.

        Raises:
            ValueError: as for `sample`; or if torch has no quantile function of p.
        """
        distribution = tempered(_map(self.distribution, lambda t: t.cpu()), temperature)
        try:
            distribution.icdf(torch.tensor(0.5, dtype=torch.float64))
        except NotImplementedError:
            kind = type(distribution).__name__
            raise ValueError(f"Expected a prior with a quantile function (icdf) in torch; got {kind}") from None
        return distribution.icdf

    def extra_repr(self) -> str:
        """The distribution."""
        try:
            return str(self.distribution)
        except NotImplementedError:  # a class of the user's own may not say what its parameters are
            return type(self.distribution).__name__

    def __deepcopy__(self, memo: dict[int, Any]) -> Prior:
        """A prior of its own; what torch's own copy of some distributions loses is kept."""
        copied = Prior.__new__(Prior)
        copied.__dict__.update(self.__dict__)
        copied.distribution = _map(self.distribution, torch.clone)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: by its numbers, where there is no more to it, since torch cannot pickle all distributions."""
        state = super().__getstate__()
        try:
            return state | {"distribution": describe(self.distribution)}
        except ValueError:
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the distribution from its numbers again."""
        distribution = state["distribution"]
        described = not isinstance(distribution, distributions.Distribution)
        super().__setstate__(state | {"distribution": named(distribution) if described else distribution})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Prior:
        """Follow the module to its device. Parameters keep their precision, so that ln p is as exact as z is."""
        super()._apply(fn, recurse)
        # a tensor without axes works on every device as it is
        self.distribution = _map(self.distribution, lambda t: fn(t).to(t.dtype) if t.ndim else t)
        return self


def named(distribution: PriorLike) -> distributions.Distribution:
    """The distribution that a user means.

    >>> round(named("laplace").variance.item(), 9)
    1.0

    Raises:
        ValueError: if the name is unknown or the distribution is not univariate.
    """
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    if isinstance(distribution, str) and distribution == "gaussian":
        return distributions.Normal(zero, one, validate_args=False)
    if isinstance(distribution, str) and distribution == "laplace":
        return distributions.Laplace(zero, one / math.sqrt(2), validate_args=False)
    if isinstance(distribution, Mapping):
        return _restore(distribution)
    if not isinstance(distribution, distributions.Distribution):
        raise ValueError(f"Expected 'gaussian', 'laplace' or a torch distribution as prior; got {distribution!r}")
    if distribution.batch_shape or distribution.event_shape:
        raise ValueError(
            "Expected a univariate prior, with batch and event shape (); "
            f"got {tuple(distribution.batch_shape)} and {tuple(distribution.event_shape)}"
        )
    _check_density(distribution)
    return _double(distribution)


def _check_density(distribution: Any) -> None:
    """Refuse what is discrete, and parameters that make no density."""
    try:
        support, constraints = distribution.support, distribution.arg_constraints
    except NotImplementedError:  # a class of the user's own may leave both out
        return
    if support is not None and support.is_discrete:
        raise ValueError(f"Expected a prior with a density; got {distribution}, which is discrete")
    for name, constraint in constraints.items():
        value = getattr(distribution, name)
        if isinstance(value, Tensor) and not (constraint.check(value).all() and value.isfinite().all()):
            raise ValueError(
                f"Expected a {name} that is {constraint}; got {value.tolist()} in the prior {distribution}"
            )


def _double(distribution: Any) -> Any:
    """The same in double precision, so that ln p is as exact as z is, where torch can mix it with a single z."""
    double = _map(distribution, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    try:
        double.log_prob(torch.zeros(1))
    except RuntimeError:
        return _map(distribution, torch.clone)
    return double


def tempered(distribution: distributions.Distribution, temperature: float) -> distributions.Distribution:
    """p^(1/T), normalised: exact for the families that are closed under powers.

    A Gaussian's scale grows by sqrt(T), a Laplacian's by T (paper, Eq. 13).

    Raises:
        ValueError: if T is not a positive number, or another family is asked for T other than 1.
    """
    if not isinstance(temperature, Real) or not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"Expected a positive temperature; got {temperature}")
    if temperature == 1:
        return distribution
    match distribution:
        case distributions.Normal():
            return distributions.Normal(distribution.loc, distribution.scale * math.sqrt(temperature))
        case distributions.Laplace():
            return distributions.Laplace(distribution.loc, distribution.scale * temperature)
        case distributions.Uniform():
            return distribution
    raise ValueError(
        f"Expected temperature 1 for a prior of type {type(distribution).__name__}, whose powers have no exact "
        f"sampler; got {temperature}"
    )


def describe(distribution: Any) -> str | dict[str, Any]:
    """A distribution as JSON can hold it; `named` makes it a distribution again.

    Raises:
        ValueError: if it has parameters other than numbers.
    """
    for name in ("gaussian", "laplace"):
        known: Any = named(name)
        if type(distribution) is type(known) and (distribution.loc, distribution.scale) == (known.loc, known.scale):
            return name
    parameters = _parameters(distribution)
    if parameters is None or any(value.ndim for value in parameters.values()):
        kind = type(distribution).__name__
        raise ValueError(f"Expected a prior that plain numbers describe; got a {kind}, which cannot be saved")
    description = {"distribution": type(distribution).__name__} | {k: value.item() for k, value in parameters.items()}
    _restore(description)  # some classes do not take all that they have
    return description


def _parameters(distribution: Any) -> dict[str, Tensor] | None:
    """The tensors from which torch makes this distribution, or None where it takes other things."""
    kind = type(distribution)
    if getattr(distributions, kind.__name__, None) is not kind:
        return None
    parameters = {key: getattr(distribution, key) for key in distribution.arg_constraints}
    return parameters if parameters and all(isinstance(v, Tensor) for v in parameters.values()) else None


def _restore(description: Mapping[str, Any]) -> distributions.Distribution:
    """The inverse of `describe`, which makes nothing but torch distributions."""
    parameters = dict(description)
    kind: Any = getattr(distributions, str(parameters.pop("distribution", None)), None)
    base = distributions.Distribution
    if not isinstance(kind, type) or not issubclass(kind, base) or kind is base:
        raise ValueError(f"Expected the description of a torch distribution; got {dict(description)}")
    try:
        tensors: dict[str, Any] = {key: torch.tensor(value, dtype=torch.float64) for key, value in parameters.items()}
        return named(kind(**tensors))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"Expected the parameters of {kind.__name__}; got {parameters}") from error


def _map(part: Any, fn: Callable[[Tensor], Tensor], seen: dict[int, Any] | None = None) -> Any:
    """A copy of a distribution, with `fn` applied to every tensor within, other distributions and transforms too.

    `copy.deepcopy` would lose what an inverse transform is the inverse of. The copy does not validate its arguments:
    a z without density is no error.
    """
    seen = {} if seen is None else seen
    if id(part) in seen:
        return seen[id(part)]
    if isinstance(part, Tensor):
        seen[id(part)] = fn(part.detach())
    elif isinstance(part, (list, tuple)):
        seen[id(part)] = type(part)(_map(item, fn, seen) for item in part)
    elif isinstance(part, (distributions.Distribution, distributions.Transform)):
        seen[id(part)] = copied = object.__new__(type(part))
        state = {key: value for key, value in part.__dict__.items() if not isinstance(value, weakref.ref)}
        if isinstance(part, distributions.Transform):
            copied.__dict__["_inv"] = None  # torch keeps it as a weak reference, and makes it again
        copied.__dict__.update({key: _map(value, fn, seen) for key, value in state.items()})
        if isinstance(part, distributions.Distribution):
            copied.__dict__["_validate_args"] = False
    else:
        return part
    return seen[id(part)]
