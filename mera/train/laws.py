"""Deviations of a bijector from the laws that a density needs: its inverse, its log-dets, and its batches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mera.bijectors.base import Bijector, checked_result, context_arguments
from mera.bijectors.univariate import Univariate

MAX_JACOBIAN_SIZE = 256
"""The largest number of variables of an event whose Jacobian is computed."""
SPREAD = 0.1
"""The standard deviation of the noise on parameters, since many bijectors start as the identity."""
LAWS = {
    "inverse": "inverse undoes forward",
    "log-det": "log-det is that of the Jacobian",
    "inverse log-det": "log-dets of both directions cancel",
    "events": "events do not depend on each other",
}
"""The laws in words, by their names in `errors_of`."""


def double_copy(module: Any) -> Any:
    """A copy of a module on the CPU in double precision, in which rounding hides no error."""
    return copy.deepcopy(module).cpu().double()


def with_noise_on_parameters(module: Any, spread: float = SPREAD) -> Any:
    """Add noise of a standard deviation to all parameters of a module in place, and return it."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return module


def errors_of(bijector: Bijector, x: Tensor, context: Tensor | None = None) -> dict[str, float]:
    """The largest error in each law of a bijector at events x and contexts; infinite where a value is infinite or NaN.

    Returns:
        By name: "inverse", relative to the largest value of x; "inverse log-det", the sum of both log-dets; "events",
        the first event alone against the same event in the batch; and for events of up to 256 variables "log-det",
        against the log-determinant of the Jacobian from automatic differentiation.

    Raises:
        ValueError: if a method returns something other than a value of the shape of x and a log-det of shape (B,).
    """
    arguments = context_arguments(bijector, context)
    with torch.no_grad():
        y, log_det = checked_result(bijector(x.clone(), *arguments), x, "forward")
        again, opposite = checked_result(bijector.inverse(y.clone(), *arguments), x, "inverse")
        first = [None if part is None else part[:1] for part in arguments]
        alone, alone_log_det = bijector(x[:1].clone(), *first)
    of_angles = any(isinstance(part, Univariate) and part.of_angles for part in bijector.modules())
    errors = {
        "inverse": round_trip_error(x, again, of_angles),
        "inverse log-det": largest(log_det + opposite),
        "events": max(largest(alone - y[:1]), largest(alone_log_det - log_det[:1])),
    }
    if x[0].numel() <= MAX_JACOBIAN_SIZE:
        errors["log-det"] = jacobian_error(lambda event: bijector(event, *first)[0], x[:1], log_det[:1])
    return errors


def round_trip_error(x: Tensor, again: Tensor, of_angles: bool) -> float:
    """The largest difference of x and x after a round trip, relative to the largest value; -pi and pi are one angle."""
    difference = again - x
    if of_angles:
        difference = torch.remainder(difference + math.pi, 2 * math.pi) - math.pi
    return largest(difference) / max(1.0, largest(x))


def jacobian_error(f: Callable[[Tensor], Tensor], x: Tensor, log_det: Tensor) -> float:
    """The difference between a log-det (1,) and that of the Jacobian of f at one event x, (1, ...)."""
    with torch.enable_grad():
        jacobian = torch.autograd.functional.jacobian(lambda event: f(event[None]).flatten(), x[0])
    n = x[0].numel()
    return largest(torch.linalg.slogdet(jacobian.reshape(n, n)).logabsdet - log_det)


def dead_parameters(module: nn.Module, loss: Tensor) -> list[str]:
    """The names of parameters without a gradient of a loss, or with the gradient 0."""
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad and value.numel()}
    if not parameters or not loss.requires_grad:
        return list(parameters)
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return [name for name, g in zip(parameters, gradients, strict=True) if g is None or not g.abs().sum() > 0]


def largest(values: Tensor) -> float:
    """The largest absolute value; infinite if one is infinite or NaN, 0 if there are none."""
    largest = values.detach().abs().max().item() if values.numel() else 0.0
    return largest if math.isfinite(largest) else math.inf
