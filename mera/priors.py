"""Factorised priors of the latents, at any temperature."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        return torch.stack([self.distribution.log_prob(level).to(level.dtype).flatten(1).sum(1) for level in z]).sum(0)

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

    def extra_repr(self) -> str:
        """The distribution."""
        return str(self.distribution)

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
    if distribution == "gaussian":
        return distributions.Normal(zero, one, validate_args=False)
    if distribution == "laplace":
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
    if distribution.support is not None and distribution.support.is_discrete:
        raise ValueError(f"Expected a prior with a density; got {distribution}, which is discrete")
    return _map(distribution, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


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
        raise ValueError(f"Expected a prior that plain numbers describe; got {distribution}, which cannot be saved")
    return {"distribution": type(distribution).__name__} | {key: value.item() for key, value in parameters.items()}


def _parameters(distribution: Any) -> dict[str, Tensor] | None:
    """The tensors from which torch makes this distribution, or None where it takes other things than tensors."""
    kind = type(distribution)
    parameters = {key: getattr(distribution, key) for key in distribution.arg_constraints}
    of_torch = getattr(distributions, kind.__name__, None) is kind
    return parameters if of_torch and parameters and all(isinstance(v, Tensor) for v in parameters.values()) else None


def _restore(description: Mapping[str, Any]) -> distributions.Distribution:
    """The inverse of `describe`, which makes nothing but torch distributions."""
    parameters = dict(description)
    kind: Any = getattr(distributions, str(parameters.pop("distribution", None)), None)
    if not _is_distribution(kind):
        raise ValueError(f"Expected the description of a torch distribution; got {dict(description)}")
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in parameters.items()}
    try:
        return named(kind(**tensors))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected the parameters of {kind.__name__}; got {sorted(parameters)}") from error


def _is_distribution(kind: Any) -> bool:
    """Whether this is a class of torch's distributions, other than the abstract one."""
    base = distributions.Distribution
    return isinstance(kind, type) and issubclass(kind, base) and kind is not base


def _map(distribution: Any, fn: Callable[[Tensor], Tensor]) -> Any:
    """A copy with `fn` applied to every tensor within. What has no density at z gets -inf there, not an error."""
    parameters = _parameters(distribution)
    if parameters is not None:
        return type(distribution)(**{key: fn(value) for key, value in parameters.items()}, validate_args=False)
    return copy.deepcopy(distribution, {id(tensor): fn(tensor) for tensor in _tensors(distribution, set())})


def _tensors(part: Any, seen: set[int]) -> Iterator[Tensor]:
    """The tensors within a distribution, which may hold other distributions and transforms."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, (list, tuple)):
        for item in part:
            yield from _tensors(item, seen)
    elif isinstance(part, (distributions.Distribution, distributions.Transform)):
        yield from _tensors(list(part.__dict__.values()), seen)
