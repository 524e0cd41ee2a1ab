"""The check of an action, of what it declares, and of the flow beside it, which samplers and training share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.density import Density
from mera.physics.action import Action, ActionLike, as_action
from mera.physics.short_run import is_differentiable, short_run

PROBES, TRAJECTORIES = 16, 10
"""The number of fields on which an action is tried, and of the trajectories that lead from noise to half of them."""
FAR = (1e3, 1e6, 1e9)
"""Factors that scale fields; an action that decreases from each factor to the next is not bounded from below."""
ROUNDING = 1e3
"""Two actions count as equal if they differ by less than this many rounding errors of their terms."""


def check_target(flow: object, action: ActionLike) -> Action:
    """Check an action at random fields and at fields of a short chain, and that it suits a flow; return the `Action`.

    Random states are restored, so that a check changes no result.

    Args:
        flow: a flow, or the shape (C, *shape) of a field.
        action: the action.

    Raises:
        ValueError: if the flow or the action is of another type, the action does not return one number for each field,
            is not bounded from below, or has none of the properties that it declares (`Action.channels`, `is_even`,
            `is_compact`, `reach`), or the flow takes a context or has another domain than the action.
        FloatingPointError: if the action of a field is not finite.
    """
    shape = event_shape_of(flow)
    action = as_action(action)
    if action.channels is not None and shape[0] != action.channels:
        got = f"a field of shape {shape}, which has {shape[0]}: the shape is (channels, *lattice)"
        raise InputError(f"a field of {action.channels} channel{'s'[: action.channels - 1]} for {action!r}", got)
    like = torch.empty(0, dtype=torch.float64)
    if isinstance(flow, Density):
        if flow.plan.context is not None:
            raise InputError("a flow without context beside an action", f"one with context {flow.plan.context}")
        _check_domain(action, flow)
        like = like.to(flow.device, flow.dtype)
    with torch.no_grad(), fixed_seed(0):
        fields = _random_fields(shape, like)
        values = _finite(action, fields)
        _check_bounded(action, fields, values)
        fields = torch.cat([fields, _fields_of_a_chain(action, fields)])
        values = _finite(action, fields)
        _check_periods(action, fields, values)
        if action.is_even:
            difference = (action(-fields) - values).abs()
            _refuse_unequal("is_even", "S(-phi) = S(phi)", difference, values, shape)
        if action.reach is not None and action.periodic:
            _check_reach(action, fields, values)
    return action


def check_sampled(flow: object, action: ActionLike, alone: bool = True) -> Action:
    """Check a flow and an action, as `check_target` does; refuse anything but a flow.

    Args:
        alone: whether fields come from the flow alone, so that it must give a density to every field of the target.
    """
    if not isinstance(flow, Density):
        raise InputError("a flow", type(flow).__name__)
    action = check_target(flow, action)
    if alone and not all(map(math.isinf, flow.prior.support)):
        _check_support(flow, action)
    return action


def event_shape_of(flow: object) -> tuple[int, ...]:
    """The shape (C, *shape) of a field of a flow, or a shape itself."""
    if isinstance(flow, Density):
        return tuple(flow.plan.input.event_shape)
    shape = tuple(flow) if isinstance(flow, Sequence) and not isinstance(flow, str) else ()
    if len(shape) < 2 or not all(is_integer(n) and n > 0 for n in shape):
        raise InputError("a flow, or the shape (C, *shape) of a field", repr(flow))
    return shape


def _random_fields(shape: Sequence[int], like: Tensor) -> Tensor:
    """Fields of unit noise, half of them constant over the lattice."""
    x = torch.randn(PROBES, *shape, dtype=like.dtype).to(like)
    constant = x[PROBES // 2 :].flatten(2)[:, :, :1]
    x[PROBES // 2 :] = constant.view(*constant.shape[:2], *(1 for _ in shape[1:]))
    return x


def _fields_of_a_chain(action: Action, fields: Tensor) -> Tensor:
    """Fields of short chains that start at the first half of the fields; none if the action has no gradient."""
    is_possible = is_differentiable(action, fields)
    return short_run(action, fields[: PROBES // 2], warmup=TRAJECTORIES) if is_possible else fields[:0]


def _finite(action: Action, fields: Tensor) -> Tensor:
    """The action of each field; refuses infinite values and NaN."""
    values = action(fields)
    if not values.isfinite().all():
        value = values[~values.isfinite()][0].item()
        raise FloatingPointError(f"Expected a finite action of each field; got {value}")
    return values


def _check_bounded(action: Action, fields: Tensor, values: Tensor) -> None:
    """Refuse an action that decreases without end along a ray."""
    if action.is_compact:
        return
    far = torch.stack([values, *(action(scale * fields) for scale in FAR)])
    falls = (far[1:] < far[:-1]).all(0)
    if falls.any():
        numbers = ", ".join(f"{value:.4g}" for value in far[:, falls.nonzero()[0, 0]])
        scales = ", ".join(f"{scale:g}" for scale in FAR)
        raise InputError("an action that is bounded from below", f"{numbers} for a field times 1, {scales}")


def _check_periods(action: Action, fields: Tensor, values: Tensor) -> None:
    """Compare the action before and after multiples of 2 pi are added to the variables."""
    turns = 2 * math.pi * torch.randint(-2, 3, fields.shape).to(fields)
    difference = (action(fields + turns) - values).abs()
    if action.is_compact:
        _refuse_unequal("is_compact", "S(phi + 2 pi) = S(phi)", difference, values, fields.shape[1:])
    elif (difference <= _tolerance(values, fields.shape[1:])).all():
        raise InputError(
            "an action that grows with the field, or is_compact = True for an action of angles",
            f"{action!r}, which is the same after 2 pi is added to a variable",
        )


def _check_reach(action: Action, fields: Tensor, values: Tensor) -> None:
    """Compare the density before and after the field changes at one site, and before and after a translation."""
    density, reach, edges = action.density(fields), action.reach or 0, fields.shape[2:]
    _refuse_unequal("density", "a sum equal to S", (density.flatten(1).sum(1) - values).abs(), values, fields.shape[1:])
    axes = tuple(range(1, density.ndim))
    moved = action.density(fields.roll([1] * len(axes), tuple(axis + 1 for axis in axes)))
    unequal = (moved - density.roll([1] * len(axes), axes)).abs().flatten(1).amax(1)
    _refuse_unequal("reach", "one function at every site", unequal, values, fields.shape[1:])
    changed = fields.clone()
    changed.flatten(2)[:, :, 0] += 1  # a view
    difference = (action.density(changed) - density).abs()
    for axis, n in enumerate(edges):
        distance = torch.minimum(torch.arange(n), n - torch.arange(n)).to(difference.device)
        beyond = difference.index_select(axis + 1, (distance > reach).nonzero()[:, 0]).flatten(1)
        if beyond.shape[1]:
            expected = f"the same density more than {reach} sites away from a change"
            _refuse_unequal(f"reach = {reach}", expected, beyond.amax(1), values, fields.shape[1:])


def _check_domain(action: Action, flow: Density) -> None:
    """Refuse a flow of real numbers for an action of angles, and the reverse."""
    prior = flow.prior.family.kind.__name__
    if action.is_compact and not flow.flow.of_angles:
        expected = f"a flow of angles for {action!r}, as mera.build makes one with XY.flow_options"
        raise InputError(expected, f"a flow of real numbers with the prior {prior}")
    if flow.flow.of_angles and not action.is_compact:
        raise InputError(f"a flow of real numbers for {action!r}", f"a flow of angles with the prior {prior}")


def _check_support(flow: Density, action: Action) -> None:
    """Refuse a flow that gives fields of the target no density, which a prior on an interval may do."""
    with torch.no_grad(), fixed_seed(0):
        noise = _random_fields(event_shape_of(flow), torch.empty(0, dtype=flow.dtype, device=flow.device))
        missed = (flow.log_prob(_fields_of_a_chain(action, noise)) == -math.inf).double().mean().item()
    if missed:
        got = f"one that has none for {missed:.0%} of them, by its prior {flow.prior.family.kind.__name__}"
        raise InputError("a flow with a density for every field of the target", got)


def _tolerance(values: Tensor, shape: Sequence[int]) -> Tensor:
    """The difference between two actions that rounding errors explain."""
    return ROUNDING * torch.finfo(values.dtype).eps * (values.abs() + math.prod(shape))


def _refuse_unequal(name: str, expected: str, difference: Tensor, values: Tensor, shape: Sequence[int]) -> None:
    """Refuse a declared property that differences between actions contradict."""
    excess = difference - _tolerance(values, shape)
    if excess.max() > 0 or difference.isnan().any():
        got = f"{difference.max().item():.3g} for an action of {values[excess.argmax()].item():.4g}"
        raise InputError(f"{expected} for an action that declares {name}", f"a difference of {got}")
