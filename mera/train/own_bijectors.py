"""A check of a user's own bijectors at the first batch: the cheapest laws, at a few events."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector
from mera.bijectors.conditional import Conditional
from mera.bijectors.coupling import Coupling
from mera.bijectors.laws import LAWS, errors_of, with_noise_on_parameters
from mera.bijectors.univariate import Univariate
from mera.density import Density
from mera.graph import Step
from mera.run.executor import run_forward

EVENTS = 2
"""The number of events at which a bijector is checked."""
TOLERANCE = 1e-3
"""The largest error: a wrong law is wrong by far more, and approximate inverses are allowed."""


def check_own_bijectors(density: Density, x: Tensor, context: Tensor | None) -> None:
    """Check the laws of bijectors that are not from this package, at events of the first batch.

    Args:
        density: the flow, after its layers are initialised.
        x: data (B, C, *shape).
        context: the contexts of the data; None for a flow without context.

    Raises:
        ValueError: if a law does not hold; the message names the node, the law and the error.
    """
    flow = density.flow
    own = {step.module for step in flow.plan.bijections if is_own(flow.bijectors[step.module])}
    if not own:
        return
    runner = flow.runner
    checked: set[str] = set()
    x, context = x[:EVENTS], None if context is None else context[:EVENTS]
    transform = runner.forward_transform(runner.contexts(context, x))

    def transform_and_check(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        if step.module in own - checked:
            checked.add(step.module)
            bijector: Bijector = flow.bijectors[step.module]
            if bijector.context_shape is None:
                _check(step.node, bijector, events[:EVENTS])
        return transform(step, events)

    with torch.no_grad():
        run_forward(flow.plan, x, transform_and_check)


def is_own(bijector: nn.Module) -> bool:
    """Whether a bijector, one of its maps of single variables, or one of its conditioners is not from this package."""
    parts: list[nn.Module] = [part for part in bijector.modules() if isinstance(part, (Bijector, Univariate))]
    parts += [network for part in parts for network in _conditioners(part)]
    kinds = {type(part).__module__ for part in parts}
    return any(kind.partition(".")[0] != "mera" or kind == "mera.bijectors.adapt" for kind in kinds)


def _conditioners(part: nn.Module) -> list[nn.Module]:
    """The networks that compute the parameters of a bijector; none for other modules."""
    if isinstance(part, Coupling):
        return list(part.networks)
    return [part.network] if isinstance(part, Conditional) else []


def _check(node: str, bijector: Bijector, events: Tensor) -> None:
    """Refuse a bijector that breaks a law, by an error that names the node.

    The log-det is also checked with noise on the parameters, since many bijectors start as the identity.
    """
    tolerance = max(TOLERANCE, 1e3 * torch.finfo(events.dtype).eps) * max(1.0, events[0].numel() ** 0.5)
    try:
        errors = errors_of(bijector, events)
        noisy = errors_of(with_noise_on_parameters(copy.deepcopy(bijector)), events)
    except (RuntimeError, TypeError, NotImplementedError):  # which training raises where it matters
        return
    errors["log-det"] = max(errors.get("log-det", 0.0), noisy.get("log-det", 0.0))
    for name, law in LAWS.items():
        if errors[name] > tolerance:
            got = f"an error of {errors[name]:.3g} in {type(bijector).__name__}: mera.check shows all laws"
            raise InputError(f"the law {law!r}", got, where=f"node {node!r}")
