"""The bijectors of a plan's steps, from the bijectors or callables in the layout."""

from __future__ import annotations

from typing import Any

from torch import nn

from mera.bijectors import Bijector
from mera.bijectors.by_name import make
from mera.graph.layout import Layout
from mera.graph.layout_error import LayoutError, within
from mera.graph.plan import Plan, Step
from mera.graph.validation import check_bijector


def make_bijectors(plan: Plan, layout: Layout) -> nn.ModuleDict:
    """The bijectors of all steps of a plan, by the key in `Step.module`; steps with the same key share a bijector.

    Raises:
        LayoutError: if a callable does not make a bijector for the events of its step, lattices share a bijector that
            is not local, or the plan has a context that none of the bijectors takes.
    """
    bijectors = nn.ModuleDict()
    for step in plan.bijections:
        if step.module not in bijectors:
            bijectors[step.module] = _make_bijector(step, layout, plan)
        bijector = bijectors[step.module]
        if bijector.event_shape not in (None, step.apply.event_shape) and not bijector.is_local:
            got = f"{type(bijector).__name__} with tensors of the lattice {bijector.event_shape}"
            raise LayoutError("a local bijector, to share it among lattices", got, node=step.node)
    if plan.context is not None and all(module.context_shape is None for module in bijectors.values()):
        raise LayoutError(f"a bijector that takes the context {plan.context}", "none in any node")
    return bijectors


def _make_bijector(step: Step, layout: Layout, plan: Plan) -> Bijector:
    """The bijector that a node was declared with, or that its callable makes."""
    node: Any = layout.nodes[step.node]
    bijector, operation = node.bijector, step.apply
    with within(f"node {step.node!r}"):
        try:
            if not isinstance(bijector, Bijector):
                bijector = make(bijector, operation.event_shape, plan.context_shape(operation))
                if not isinstance(bijector, Bijector):
                    raise LayoutError("a mera.bijectors.Bijector", f"{type(bijector).__name__}")
                check_bijector(bijector, operation)  # one that was declared has been checked
        except (TypeError, AttributeError, RuntimeError) as error:
            expected = f"a callable that makes a bijector from the event shape {operation.event_shape}"
            raise LayoutError(expected, f"{node.bijector!r}, which fails: {error}") from error
        if bijector.context_shape not in (None, plan.context_shape(operation)):
            raise LayoutError(f"a context {plan.context_shape(operation)}", f"{bijector.context_shape}")
    return bijector


def structure_of(module: nn.Module) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The structure of a module: the class, the tensors' shapes, and the plain attributes of each of its modules.

    Two modules of one structure compute the same function of the values in their state dicts, but for attributes that
    are neither numbers nor text.
    """
    return [
        (name, f"{type(part).__module__}.{type(part).__qualname__}", str(_shapes(part)), _plain_attributes(part))
        for name, part in module.named_modules()
    ]


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters and buffers that belong to a module itself."""
    tensors = {**module._parameters, **module._buffers}
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor is not None}


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """The public attributes of a module of this package that are numbers, text, or tuples, but for `training`.

    Those of a user's class may be counters or flags.
    """
    if type(module).__module__.partition(".")[0] != "mera":
        return {}
    return {
        name: value
        for name, value in vars(module).items()
        if name != "training" and not name.startswith("_") and isinstance(value, (bool, int, float, str, tuple))
    }
