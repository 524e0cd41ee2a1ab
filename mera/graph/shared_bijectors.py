"""The bijectors of a flow on another lattice, with the same parameters."""

from __future__ import annotations

from torch import nn

from mera._utils.errors import with_notes
from mera.bijectors.spectral import Spectral
from mera.graph.layout_error import LayoutError
from mera.graph.plan import Plan


def share_bijectors(target: nn.ModuleDict, plan: Plan, source: nn.ModuleDict, before: Plan) -> None:
    """Give the bijectors of a plan the parameters, and the persistent buffers, of those of another plan.

    Bijectors of patches are the same modules. A bijector of a whole lattice, such as couplings by convolutions, stays a
    module of its own, whose parameters are those of the other one.

    Args:
        target: the bijectors of the plan, which are replaced or changed.
        plan: the plan.
        source: the bijectors that have the parameters.
        before: the plan of `source`.

    Raises:
        LayoutError: if a bijector has parameters of other shapes on the other lattice, or scales the Fourier modes of
            the whole lattice; the message names the node.
    """
    operations = {step.module: step.apply for step in before.bijections}
    for step in plan.bijections:
        module, operation = source[step.module], operations[step.module]
        is_whole = operation.events == 1 and any(isinstance(part, Spectral) for part in module.modules())
        if is_whole and step.apply.lattice.shape != operation.lattice.shape:
            raise LayoutError("bijectors that fit another lattice", "modes of a whole lattice", node=step.node)
        if not step.apply.is_field:
            target[step.module] = module
            continue
        try:
            _share(target[step.module], module)
        except (KeyError, AttributeError, ValueError) as error:
            raise LayoutError("the same parameters on another lattice", with_notes(error), node=step.node) from error


def _share(target: nn.Module, source: nn.Module) -> None:
    """Let a module have the parameters and persistent buffers of another one of the same structure."""
    names = set(source.state_dict())
    if names != set(target.state_dict()):
        raise ValueError(f"others: {', '.join(sorted(names ^ set(target.state_dict())))}")
    for name, value in [*source.named_parameters(), *source.named_buffers()]:
        if name not in names:
            continue  # a buffer that is not persistent belongs to the lattice
        path, _, last = name.rpartition(".")
        owner = target.get_submodule(path)
        if getattr(owner, last).shape != value.shape:
            raise ValueError(f"{name} {tuple(getattr(owner, last).shape)} for {tuple(value.shape)}")
        setattr(owner, last, value)
