"""Actions of lattice fields as plain functions, and weights of samples."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mera._utils.errors import InputError

__all__ = ["ActionLike", "effective_fraction", "evaluate_action"]

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


def effective_fraction(log_weights: Tensor) -> float:
    r"""The effective sample size of weighted samples, as a fraction: :math:`(\sum w)^2 / (n \sum w^2)`.

    Args:
        log_weights: the logarithms of the weights, (n,).
    """
    weights = log_weights.double().softmax(0)
    return 1 / (weights.square().sum().item() * len(weights))
