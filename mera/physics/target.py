r"""Target densities of samplers: :math:`e^{-S}` over fields, or over the latents of a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from mera._utils.checks import check_tensor
from mera._utils.errors import InputError
from mera.bijectors.circular import wrap
from mera.flow import Flow
from mera.physics.action import Action


class Target:
    """An unnormalised density of rows of variables.

    Args:
        log_prob: the log-density up to a constant, a function from (K, d) to (K,).
        to_fields: a function from rows (K, d) to fields (K, C, *shape).
    """

    def __init__(self, log_prob: Callable[[Tensor], Tensor], to_fields: Callable[[Tensor], Tensor]) -> None:
        self.log_prob, self.to_fields = log_prob, to_fields


def field_target(action: Action, event_shape: Sequence[int]) -> Target:
    """The density of fields of shape (C, *shape)."""
    return Target(
        lambda row: -action(row.unflatten(1, tuple(event_shape))),
        lambda row: in_domain(action, row.unflatten(1, tuple(event_shape))),
    )


def latent_target(flow: Flow, action: Action) -> Target:
    r"""The density of the latents, :math:`e^{-S(G(z))} |\det dG / dz|`, which is the prior if the flow G is exact."""

    def log_prob(row: Tensor) -> Tensor:
        phi, log_det = flow.inverse(flow.plan.levels_of(row))
        return log_det - action(phi)

    return Target(log_prob, lambda row: flow.inverse(flow.plan.levels_of(row))[0])


def in_domain(action: Action, phi: Tensor) -> Tensor:
    """Wrap fields to [-pi, pi) for an action of angles, and return other fields unchanged."""
    return wrap(phi) if action.is_compact else phi


def check_fields(fields: Tensor, event_shape: Sequence[int]) -> Tensor:
    """Return fields (K, C, *shape), and refuse an empty batch, another shape, or values that are not finite floats."""
    check_tensor("fields", fields, tuple(event_shape), None, "chains")
    if not fields.is_floating_point() or not len(fields) or not fields.isfinite().all():
        raise InputError("one field or more, of finite floats", f"{len(fields)} of {fields.dtype}")
    return fields
