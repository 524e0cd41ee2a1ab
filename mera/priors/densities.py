"""Log-densities of torch's univariate distributions that are -inf outside of the support.

Some of torch's formulas give finite numbers there, or NaN, and the support that torch declares for a mixture or a
transformed distribution can be too small or too large.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, distributions

from mera._utils.random import seeded
from mera.priors.distributions import map_tensors

__all__ = ["log_density", "support_of"]

CANDIDATES = (0.5, 1.5, -0.5, -1.5, 0.0)
"""Numbers that are tried for a point inside the support of a distribution, before a sample of it."""


def log_density(distribution: Any, x: Tensor) -> Tensor:
    r"""The log-density :math:`\ln p` of numbers, in nats; -inf outside of the support.

    A formula is never evaluated where it does not hold: a NaN in the branch that `where` does not take would spoil
    gradients.

    Args:
        distribution: a univariate distribution.
        x: numbers, of any shape.

    Returns:
        The log-densities, of the shape of the numbers.
    """
    if isinstance(distribution, distributions.MixtureSameFamily):
        components = log_density(distribution.component_distribution, x[..., None])
        weights = torch.log_softmax(distribution.mixture_distribution.logits, dim=-1)
        return torch.logsumexp(components + weights, dim=-1).to(components.dtype)
    if not _is_bounded(distribution):
        return distribution.log_prob(x)
    inside = _is_inside(distribution, x)
    log_prob = distribution.log_prob(torch.where(inside, x, _point_inside(distribution, x)))
    at_an_end = log_prob.isnan() & ~x.isnan()  # of a closed interval, where some formulas are 0 times infinity
    return torch.where(inside & ~at_an_end, log_prob, -math.inf)


def support_of(distribution: Any) -> Any:
    """The support that a distribution declares; None if the class of the distribution declares none.

    Args:
        distribution: a univariate distribution.
    """
    try:
        return distribution.support
    except NotImplementedError:
        return None


def _is_bounded(distribution: Any) -> bool:
    """Whether there may be numbers outside of the support."""
    if isinstance(distribution, distributions.TransformedDistribution) and _is_bounded(distribution.base_dist):
        return True
    support = support_of(distribution)
    return support is not None and support is not distributions.constraints.real


def _is_inside(distribution: Any, x: Tensor) -> Tensor:
    """Whether numbers are in the support; for a transformed distribution, also on the way to the base distribution."""
    support = support_of(distribution)
    inside = torch.ones_like(x, dtype=torch.bool) if support is None else support.check(x)
    if isinstance(distribution, distributions.TransformedDistribution):
        value = x.detach()
        for transform in reversed(distribution.transforms):
            inside = inside & transform.codomain.check(value)
            value = transform.inv(value)
        inside = inside & _is_inside(distribution.base_dist, value)
    return inside


def _point_inside(distribution: Any, like: Tensor) -> Tensor:
    """Numbers in the support, of the dtype and device of `like`, that broadcast to the shape of the distribution."""
    local = map_tensors(distribution, lambda t: t.detach().cpu())
    for candidate in CANDIDATES:
        if bool(_is_inside(local, torch.tensor(candidate)).all()):
            return like.new_tensor(candidate)
    try:
        with seeded(0):
            return local.sample().to(like)
    except NotImplementedError:  # a class of the user's own may have no sampler
        return like.new_tensor(math.nan)
