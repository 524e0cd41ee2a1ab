"""The health of a run: laws of a user's own bijectors, the verdict, and the first node that is not finite."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.adapt import Adapted
from mera.bijectors.base import Bijector
from mera.executor.passes import run_forward
from mera.flow.density import Density
from mera.graph import Step
from mera.train.batches import Batch, Objective
from mera.train.laws import LAWS, errors_of, round_trip_error, with_noise_on_parameters

INVERSE_ROWS = 8
"""The number of examples whose round trip is computed at each evaluation."""
LAW_EVENTS, LAW_TOLERANCE = 2, 1e-3
"""The number of events at which a user's own bijector is checked, and the largest error: a wrong law is wrong by far
more, and approximate inverses are allowed."""


@torch.no_grad()
def inverse_error(flow: Density, objective: Objective) -> float:
    r"""The largest error of :math:`x \to z \to x` in the flow's dtype, relative to the largest value of x."""
    rows = range(min(INVERSE_ROWS, objective.size or INVERSE_ROWS))
    batch = tuple(tensor.to(flow.device) for tensor in objective.batch(0, 0, rows))
    x, context = objective.data(flow, batch)
    bare = flow.flow
    again = bare.inverse(bare(x, context)[0], context)[0]
    return round_trip_error(x, again, bare.of_angles)


def divergence(flow: Density, error: float) -> str | None:
    """A sentence on why the weights of the last step should not be used, and what to change; None if they are sound."""
    change = "lower lr, or raise warmup or batch_size"
    if not all(parameter.isfinite().all() for parameter in flow.parameters()):
        return f"diverged: weights are infinite or NaN; {change}"
    if not error <= 10 * math.sqrt(torch.finfo(flow.dtype).eps):
        return f"diverged: the inverse is wrong by {error:.2g} of the data's range; {change}"
    return None


@torch.no_grad()
def check_user_bijectors(density: Density, x: Tensor, context: Tensor | None) -> None:
    """Check bijectors with parts of neither this package nor torch, as they are and with noise on parameters."""
    flow = density.flow
    remaining = set()
    for key, bijector in flow.bijectors.items():
        packages = {type(part).__module__.partition(".")[0] for part in bijector.modules()}
        if not packages <= {"mera", "torch"} or any(isinstance(part, Adapted) for part in bijector.modules()):
            remaining.add(key)
    if not remaining:
        return
    x, context = x[:LAW_EVENTS], None if context is None else context[:LAW_EVENTS]
    run_step = flow.step_function(flow.contexts(context, x))

    def transform_and_check(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        bijector = flow.bijector(step)
        if step.module in remaining and bijector.context_shape is None:
            remaining.remove(step.module)
            _check(step.node, bijector, events[:LAW_EVENTS])
        return run_step(step, events)

    before = [(buffer, buffer.clone()) for buffer in flow.buffers()]  # which count calls, say
    run_forward(flow.plan, x, transform_and_check)
    for buffer, value in before:
        buffer.copy_(value)


def _check(node: str, bijector: Bijector, events: Tensor) -> None:
    """Refuse a bijector that breaks a law, by an error that names the node."""
    tolerance = max(LAW_TOLERANCE, 1e3 * torch.finfo(events.dtype).eps) * max(1.0, events[0].numel() ** 0.5)
    try:
        errors = errors_of(bijector, events)
        noisy = errors_of(with_noise_on_parameters(copy.deepcopy(bijector)), events)
    except (RuntimeError, TypeError, NotImplementedError):  # training raises it too, if it matters
        return
    errors["log-det"] = max(errors.get("log-det", 0.0), noisy.get("log-det", 0.0))  # 0 for the identity
    for name, law in LAWS.items():
        if errors[name] > tolerance:
            got = f"an error of {errors[name]:.3g} in {type(bijector).__name__}: mera.check shows all laws"
            raise InputError(f"the law {law!r}", got, where=f"node {node!r}")


@torch.no_grad()
def first_not_finite(density: Density, objective: Objective, batch: Batch) -> str:
    """Name the first node whose output is infinite or NaN for a batch, and its level.

    Args:
        density: the flow before the step that failed.

    Returns:
        Words such as "the output of node 'decimator1' at level 1"; those of the last line if all outputs are finite,
        as where the loss itself is not.
    """
    flow, places = density.flow, list[str]()

    def transform_and_look(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = run_step(step, events)
        if not (y.isfinite().all() and log_det.isfinite().all()):
            places.append(f"the output of node {step.node!r} at level {step.level}")
        return y, log_det

    x, context = density.orbit(*objective.data(density, batch))
    if not x.isfinite().all():
        return f"the {objective.name}, before any node"
    if (place := objective.not_finite(x)) is not None:
        return place
    run_step = flow.step_function(flow.contexts(context, x))
    z, _ = run_forward(flow.plan, x, transform_and_look)
    if not flow.prior.log_prob(z).isfinite().all():
        places.append("the density of the latents")
    return places[0] if places else "the loss or a gradient, since all outputs in this process are finite"
