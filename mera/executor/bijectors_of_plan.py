"""Build the module of each step of a plan."""

from __future__ import annotations

import copy
from typing import Any

import torch

from mera._utils.errors import InputError
from mera._utils.random import restored_states
from mera.bijectors import Bijector
from mera.bijectors.base import checked_result
from mera.bijectors.by_name import make
from mera.graph.layout import Layout
from mera.graph.layout_error import LayoutError, within
from mera.graph.modules import Bijectors
from mera.graph.nodes import check_bijector
from mera.graph.operations import Apply
from mera.graph.plan import Plan, Step, context_of


def make_bijectors(plan: Plan, layout: Layout) -> Bijectors:
    """The bijectors of all steps of a plan; steps with the same key share a bijector."""
    made: dict[str, Bijector] = {}
    for step in plan.bijections:
        if step.module not in made:
            made[step.module] = _make_bijector(step, layout, plan)
    check_lattices(plan, made)
    if plan.context is not None and all(module.context_shape is None for module in made.values()):
        raise LayoutError(f"a bijector that takes the context {plan.context}", "none in any node")
    tensors = (parameter.detach() for bijector in made.values() for parameter in bijector.parameters())
    bijectors = Bijectors(next(tensors, None))
    bijectors.update(made)
    return bijectors


def check_lattices(plan: Plan, bijectors: Any) -> None:
    """Raise a LayoutError if the events of a step do not fit its bijector, such as one with parameters for each site.

    `bijectors` are those of the plan, or of a plan on another lattice, by the key in `Step.module`.
    """
    for step in plan.bijections:
        bijector = bijectors[step.module]
        if not bijector.fits(step.apply.event_shape):
            got = f"a {type(bijector).__name__} of events {bijector.event_shape}"
            raise LayoutError(f"a bijector that fits the lattice {step.apply.lattice}", got, node=step.node)


def _make_bijector(step: Step, layout: Layout, plan: Plan) -> Bijector:
    """The bijector that a node was declared with, or that its callable makes."""
    node: Any = layout.nodes[step.node]
    bijector, operation = node.bijector, step.apply
    context_shape = context_of(plan.context, operation.event_shape)
    with within(f"node {step.node!r}"):
        try:
            if not isinstance(bijector, Bijector):
                bijector = make(bijector, operation.event_shape, context_shape)
                if not isinstance(bijector, Bijector):
                    raise LayoutError("a mera.bijectors.Bijector", f"{type(bijector).__name__}")
                check_bijector(bijector, operation)  # declared ones were checked before
        except (TypeError, AttributeError, RuntimeError) as error:
            expected = f"a callable that makes a bijector from the event shape {operation.event_shape}"
            raise LayoutError(expected, f"{node.bijector!r}, which fails: {error}") from error
        if bijector.context_shape not in (None, context_shape):
            raise LayoutError(f"a context {context_shape}", f"{bijector.context_shape}")
        _try(bijector, operation)
    return bijector


@torch.no_grad()
def _try(bijector: Bijector, operation: Apply) -> None:
    """Call a copy of a bijector once each way on two events, and refuse it unless it returns events and log-dets.

    Passes do not check it again. Whole lattices are as small as the bijector allows. A bijector that cannot be copied,
    or that raises an error of its own, may be made for other events, and is not judged.
    """
    channels, *sites = operation.event_shape
    if operation.is_field and bijector.fits_any_lattice:
        sites = [min(n, kernel) for n, kernel in zip(sites, operation.kernel, strict=True)]
    context_shape = context_of(bijector.context_shape, (channels, *sites))
    with restored_states(), torch.inference_mode(False):
        try:
            bijector = copy.deepcopy(bijector)
            parameter = next((p for p in bijector.parameters() if p.is_floating_point()), torch.zeros(0))
            x = parameter.new_zeros(2, channels, *sites)
            context = () if context_shape is None else (parameter.new_zeros(2, *context_shape),)
            for part in bijector.modules():
                if isinstance(part, Bijector):
                    part.register_forward_hook(_check_result)
            y, _ = bijector(x, *context)
            checked_result(bijector.inverse(y, *context), y, f"{type(bijector).__name__}.inverse")
        except InputError:
            raise
        except Exception:
            return


def _check_result(bijector: Any, arguments: Any, result: Any) -> None:
    """A hook that refuses what is not events and their log-dets."""
    checked_result(result, arguments[0], f"{type(bijector).__name__}.forward")
