r"""What samplers draw from: :math:`e^{-S}` over fields, or the same density over the latents of a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mera._utils.checks import check_tensor
from mera._utils.errors import InputError
from mera.bijectors.circular import wrap
from mera.density import Density
from mera.flow import Flow
from mera.physics.evaluation import ActionLike, check_domain, evaluate_action
from mera.symmetry.mixture import underlying

__all__ = ["Target", "check_flow", "check_start", "field_target", "in_domain", "latent_target"]


class Target:
    """A density over rows of variables, known up to a factor.

    Args:
        log_prob: the logarithm of the density, from (K, d) to (K,).
        to_fields: from rows (K, d) to fields (K, C, *shape).
    """

    def __init__(self, log_prob: Callable[[Tensor], Tensor], to_fields: Callable[[Tensor], Tensor]) -> None:
        self.log_prob, self.to_fields = log_prob, to_fields

    def evaluate(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density (K,) and its gradient (K, d).

        Args:
            row: the variables, (K, d).
        """
        with torch.enable_grad():
            row = row.detach().requires_grad_()
            value = self.log_prob(row)
            if not value.requires_grad:
                raise InputError("an action that is differentiable", "one without a gradient")
            (gradient,) = torch.autograd.grad(value.sum(), row)
        return value.detach(), gradient


def field_target(action: ActionLike, event_shape: Sequence[int]) -> Target:
    """The density of the field itself.

    Args:
        action: the action.
        event_shape: the shape (C, *shape) of a field.
    """
    return Target(
        lambda row: -evaluate_action(action, row.unflatten(1, tuple(event_shape))),
        lambda row: in_domain(action, row.unflatten(1, tuple(event_shape))),
    )


def latent_target(flow: Flow, action: ActionLike) -> Target:
    r"""The density of the latents, :math:`e^{-S(G(z))} |\det dG / dz|`, which is the prior where the flow is exact.

    Args:
        flow: the flow with the generator G.
        action: the action.
    """

    def generate(row: Tensor) -> tuple[Tensor, Tensor]:
        shape = flow.plan.input.event_shape
        return flow.inverse(flow.from_lattice(row.unflatten(1, shape)))

    def log_prob(row: Tensor) -> Tensor:
        phi, log_det = generate(row)
        return log_det - evaluate_action(action, phi)

    return Target(log_prob, lambda row: generate(row)[0])


def in_domain(action: ActionLike, phi: Tensor) -> Tensor:
    """Fields as they are, or as angles between -pi and pi for an action of angles.

    Args:
        action: the action.
        phi: the fields, (K, C, *shape).
    """
    return wrap(phi) if getattr(action, "is_compact", False) else phi


def check_flow(flow: object, action: ActionLike) -> None:
    """Refuse what is no flow, and a flow whose latents are not angles for an action of angles.

    Args:
        flow: the argument of a sampler.
        action: the action.

    Raises:
        ValueError: if the flow is none, or does not suit the action.
    """
    if not isinstance(flow, Density):
        raise InputError("a flow", type(flow).__name__)
    check_domain(action, underlying(flow).prior.distribution)


def check_start(start: Tensor, event_shape: Sequence[int]) -> Tensor:
    """Fields at which chains start.

    Args:
        start: the fields, (K, C, *shape).
        event_shape: the shape (C, *shape) of a field.

    Raises:
        ValueError: if they have another shape, are no floats, or none or not all of them are finite.
    """
    check_tensor("fields", start, tuple(event_shape), None, "chains")
    if not start.is_floating_point() or not len(start) or not start.isfinite().all():
        raise InputError("one field or more, of finite floats", f"{len(start)} of {start.dtype}")
    return start
