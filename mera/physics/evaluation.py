"""Actions of lattice fields as plain functions, and weights of samples."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.distributions import Distribution

from mera._utils.errors import InputError

__all__ = ["ActionLike", "check_domain", "effective_fraction", "evaluate_action"]

ActionLike = Callable[[Tensor], Tensor]
"""From fields (B, C, *shape) to their actions (B,)."""


def evaluate_action(action: ActionLike, phi: Tensor) -> Tensor:
    """The action of fields, (B,).

    Args:
        action: the action.
        phi: the fields, (B, C, *shape).

    Raises:
        ValueError: if the action returns anything but floats (B,).
    """
    value = action(phi)
    if not isinstance(value, Tensor) or value.shape != phi.shape[:1] or not value.is_floating_point():
        got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"an action that returns one number for each field, floats ({len(phi)},)", got)
    return value


def check_domain(action: ActionLike, distribution: Distribution) -> None:
    """Refuse a flow whose latents are not angles for an action of angles.

    Args:
        action: the action.
        distribution: the prior of a latent.

    Raises:
        ValueError: if the action is one of angles, and the prior is not supported between -pi and pi.
    """
    support = distribution.support
    ends = [float(getattr(support, name, math.inf)) for name in ("lower_bound", "upper_bound")]
    if getattr(action, "is_compact", False) and max(abs(ends[0] + math.pi), abs(ends[1] - math.pi)) > 1e-6:
        raise InputError(
            f"a flow of angles for {action!r}, as mera.build makes one with its flow_options",
            f"one with the prior {type(distribution).__name__}",
        )


def effective_fraction(log_weights: Tensor) -> float:
    r"""The effective sample size of weighted samples, as a fraction: :math:`(\sum w)^2 / (n \sum w^2)`.

    Args:
        log_weights: the logarithms of the weights, (n,).
    """
    weights = log_weights.double().softmax(0)
    return 1 / (weights.square().sum().item() * len(weights))
