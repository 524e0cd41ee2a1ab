r"""The densities that samplers draw from: :math:`e^{-S}` over fields, or over the latents of a flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from mera._utils.checks import check_tensor
from mera._utils.errors import InputError
from mera.bijectors.circular import wrap
from mera.density import Density
from mera.flow import Flow
from mera.physics.action import Action, ActionLike, as_action
from mera.priors import Prior


class Target:
    """A density over rows of variables, known up to a factor.

    Args:
        log_prob: the logarithm of the density, from (K, d) to (K,).
        to_fields: from rows (K, d) to fields (K, C, *shape).
    """

    def __init__(self, log_prob: Callable[[Tensor], Tensor], to_fields: Callable[[Tensor], Tensor]) -> None:
        self.log_prob, self.to_fields = log_prob, to_fields


def field_target(action: Action, event_shape: Sequence[int]) -> Target:
    """The density of the field itself.

    Args:
        action: the action.
        event_shape: the shape (C, *shape) of a field.
    """
    return Target(
        lambda row: -action(row.unflatten(1, tuple(event_shape))),
        lambda row: in_domain(action, row.unflatten(1, tuple(event_shape))),
    )


def latent_target(flow: Flow, action: Action) -> Target:
    r"""The density of the latents, :math:`e^{-S(G(z))} |\det dG / dz|`, which is the prior where the flow is exact.

    Args:
        flow: the flow with the generator G.
        action: the action.
    """

    def generate(row: Tensor) -> tuple[Tensor, Tensor]:
        return flow.inverse(flow.plan.levels_of(row))

    def log_prob(row: Tensor) -> Tensor:
        phi, log_det = generate(row)
        return log_det - action(phi)

    return Target(log_prob, lambda row: generate(row)[0])


def in_domain(action: Action, phi: Tensor) -> Tensor:
    """Fields as they are, or as angles between -pi and pi for an action of angles.

    Args:
        action: the action.
        phi: the fields, (K, C, *shape).
    """
    return wrap(phi) if action.is_compact else phi


def check_sampled(flow: object, action: ActionLike) -> Action:
    """Refuse a flow that does not suit an action, for samplers and estimates.

    Args:
        flow: the argument of a sampler.
        action: the argument of a sampler.

    Returns:
        The action, with all attributes.

    Raises:
        InputError: if `flow` is not a flow, `action` is not a function, or the flow does not suit the action.
    """
    if not isinstance(flow, Density):
        raise InputError("a flow", type(flow).__name__)
    action = as_action(action)
    check_domain(action, flow.flow.prior)
    return action


def check_domain(action: Action, prior: Prior) -> None:
    """Refuse a flow whose latents are not angles for an action of angles.

    Args:
        action: the action.
        prior: the prior of the flow.

    Raises:
        InputError: if the action is one of angles, and the prior is not supported between -pi and pi.
    """
    low, high = prior.support
    if action.is_compact and max(abs(low + math.pi), abs(high - math.pi)) > 1e-6:
        raise InputError(
            f"a flow of angles for {action!r}, as mera.build makes one with its flow_options",
            f"one with the prior {prior.family.kind.__name__}",
        )


def check_fields(fields: Tensor, event_shape: Sequence[int]) -> Tensor:
    """Refuse anything but finite fields of a shape.

    Args:
        fields: the fields, (K, C, *shape).
        event_shape: the shape (C, *shape) of a field.

    Returns:
        The fields.

    Raises:
        InputError: if the fields have another shape, are not floats, are none, or not all of them are finite.
    """
    check_tensor("fields", fields, tuple(event_shape), None, "chains")
    if not fields.is_floating_point() or not len(fields) or not fields.isfinite().all():
        raise InputError("one field or more, of finite floats", f"{len(fields)} of {fields.dtype}")
    return fields
